// Requests to the server; errors have its one line of explanation.

export class ServerError extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

export async function fetchChecked(path, signal) {
  const response = await fetch(path, { signal, cache: "no-cache" });
  if (response.ok) return response;
  const content = await response.json().catch(() => ({ error: response.statusText }));
  throw new ServerError(response.status, content.error);
}

export const fetchJson = async (path, signal) => (await fetchChecked(path, signal)).json();

export const pictureUrl = (run) => run.picture.base;

// Repeat a task while the page is visible; `interval` returns the time to the next call, in milliseconds.
export function repeat(task, interval) {
  let timer = 0;
  const run = async () => {
    clearTimeout(timer);
    if (!document.hidden) await task();
    clearTimeout(timer);
    timer = setTimeout(run, document.hidden ? 60_000 : interval());
  };
  document.addEventListener("visibilitychange", () => document.hidden || run());
  timer = setTimeout(run, interval());
  return run;
}
