// Elements of pages, and numbers and times in words.

export function element(tag, content, options = {}) {
  const node = Object.assign(document.createElement(tag), options);
  node.append(...[content].flat().filter((part) => part !== ""));
  return node;
}

export function formatDate(iso) {
  const time = new Date(iso);
  return Number.isNaN(time.getTime()) ? "" : time.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
}

export function formatDuration(seconds) {
  if (seconds < 100) return `${Math.round(seconds)} s`;
  if (seconds < 6000) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

export function formatSize(bytes) {
  const [unit, name] = [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"], [1, "bytes"]].find(([size]) => bytes >= size) ?? [1, "bytes"];
  return `${Number((bytes / unit).toPrecision(3))} ${name}`;
}

export function describeProgress({ stage, done, total, left_s: left, text }) {
  const remaining = left === null || left === undefined ? "" : `${formatDuration(left)} left`;
  return [`${stage} ${done} of ${total}`, remaining, text.replaceAll("_", " ")].filter(Boolean).join(" · ");
}
