// Ask the server; failures carry its one line of explanation.

export class ServerError extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

export async function ask(path, signal) {
  const answer = await fetch(path, { signal, cache: "no-cache" });
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({ error: answer.statusText }));
  throw new ServerError(answer.status, told.error);
}

export const askJson = async (path, signal) => (await ask(path, signal)).json();

export const pictureOf = (run) => run.picture.base;

// Run a task again and again while the page is in sight; `due` tells how long to wait, in milliseconds.
export function repeat(task, due) {
  let timer = 0;
  const turn = async () => {
    clearTimeout(timer);
    if (!document.hidden) await task();
    clearTimeout(timer);
    timer = setTimeout(turn, document.hidden ? 60_000 : due());
  };
  document.addEventListener("visibilitychange", () => document.hidden || turn());
  timer = setTimeout(turn, due());
  return turn;
}
