// Requests to the server; errors have its one line of explanation, and the option at fault.

export class ServerError extends Error {
  constructor(status, text, field = "") {
    super(text);
    this.status = status;
    this.field = field;
  }
}

async function check(response) {
  if (response.ok) return response;
  const content = await response.json().catch(() => ({ error: response.statusText }));
  throw new ServerError(response.status, content.error, content.field);
}

export const fetchChecked = async (path, signal) => check(await fetch(path, { signal, cache: "no-cache" }));

export const fetchJson = async (path, signal) => (await fetchChecked(path, signal)).json();

// Ask for a change; a refusal is an answer that pages expect, and no error of the connection.
export async function post(path, content = {}) {
  const headers = { "Content-Type": "application/json" };
  return (await check(await fetch(path, { method: "POST", headers, body: JSON.stringify(content) }))).json();
}

export const pictureUrl = (run) => run.picture.base;

export function reasonOf(error) {
  if (error.status === 403) return "The viewer was started anew: open the address that it has printed.";
  return error.status ? error.message : "No connection to the viewer: is it still running?";
}
