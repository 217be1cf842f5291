// Health of the viewer: problems, jobs, runs in progress, services and disks.

import { fetchJson, reasonOf } from "./api.js";
import { describeProgress, element, formatDate, formatDuration, formatSize } from "./elements.js";
import { follow } from "./events.js";
import { JobList } from "./jobs.js";

const INTERVAL_MS = 5000; // disks and services change without an event
const byId = (id) => document.getElementById(id);
const jobs = new JobList(byId("jobs"), { hidesFinished: true });

function runItem({ id, name, stage, changed, progress }) {
  const step = progress.total ? describeProgress(progress) : `${stage} · ${formatDate(changed)}`;
  return element("li", [element("a", name, { href: `/run/${id}` }), ` ${step}`]);
}

function serviceItem({ folder, healthy, lines }) {
  const badge = element("span", healthy ? "works" : "needs attention", { className: `badge ${healthy ? "good" : "warn"}` });
  return element("div", [element("h3", [`${folder} `, badge]), element("ul", lines.map((line) => element("li", line)))]);
}

function fill(id, nodes) {
  byId(id).replaceChildren(...nodes);
  byId(id).closest("section").hidden = !nodes.length;
}

async function refresh(kinds) {
  if (kinds.has("jobs")) await jobs.refresh();
  const health = await fetchJson("/api/health");
  byId("badge").textContent = health.healthy ? "all is well" : "needs attention";
  byId("badge").className = `badge ${health.healthy ? "good" : "warn"}`;
  byId("problems").replaceChildren(...health.problems.map((text) => element("li", text)));
  fill("runs", health.runs_in_progress.map(runItem));
  fill("services", health.services.map(serviceItem));
  fill("disks", health.disks.map(({ folder, text }) => element("li", `${folder}: ${text}`)));
  const memory = health.memory_bytes ? [`memory ${formatSize(health.memory_bytes)}`] : [];
  const about = [`ptypinn ${health.version}`, `this viewer for ${formatDuration(health.running_s)}`, ...memory];
  byId("viewer").textContent = [...about, ...(health.read_only ? ["read-only"] : [])].join(" · ");
  byId("connection-error").hidden = true;
}

function fail(error) {
  byId("connection-error").textContent = reasonOf(error);
  byId("connection-error").hidden = false;
  byId("badge").textContent = "unknown";
  byId("badge").className = "badge";
}

await refresh(new Set(["jobs"])).catch(fail);
follow(() => [["jobs", ""], ["runs", ""]], refresh, fail);
setInterval(() => document.hidden || refresh(new Set()).catch(fail), INTERVAL_MS);
