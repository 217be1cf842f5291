// Events from the server on what has changed, while the page is visible.

const SILENCE_MS = 30_000; // longest time without a line, several times the server's heartbeat
const RETRY_MS = 3000;

// Follow subjects, an array of [kind, subject]. `changed(kinds)` is called once for all events that arrive meanwhile;
// an error that it throws, or a lost connection, goes to `failed`.
export function follow(subjects, changed, failed) {
  let source = null;
  let timer = 0;
  let waiting = new Set();
  let busy = false;

  async function work() {
    if (busy || !waiting.size) return;
    busy = true;
    const kinds = waiting;
    waiting = new Set();
    try {
      await changed(kinds);
    } catch (error) {
      failed(error);
    }
    busy = false;
    work();
  }

  function later(ms) {
    clearTimeout(timer);
    timer = setTimeout(open, ms);
  }

  function open() {
    clearTimeout(timer);
    source?.close();
    source = null;
    if (document.hidden) return; // browsers allow few connections to one server
    source = new EventSource(`/api/events?${new URLSearchParams(subjects())}`);
    source.onopen = () => later(SILENCE_MS);
    source.onerror = () => {
      for (const [kind] of subjects()) waiting.add(kind); // its request says what is wrong
      work();
      later(RETRY_MS);
    };
    source.addEventListener("beat", () => later(SILENCE_MS));
    for (const kind of new Set(subjects().map(([name]) => name))) {
      source.addEventListener(kind, () => {
        later(SILENCE_MS);
        waiting.add(kind);
        work();
      });
    }
  }

  document.addEventListener("visibilitychange", open);
  addEventListener("pagehide", () => source?.close());
  open();
  return open;
}
