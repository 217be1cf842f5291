// The page of one scan: what it is, and the form that starts a job on it.

import { fetchJson, reasonOf } from "./api.js";
import { formatDate, formatSize } from "./elements.js";
import { follow } from "./events.js";
import { Facts } from "./facts.js";
import { JobForm } from "./form.js";
import { JobList, readOnly } from "./jobs.js";

const byId = (id) => document.getElementById(id);
const id = location.pathname.split("/").pop();
const jobs = new JobList(byId("jobs"), { filter: (job) => job.scan_id === id, kept: 1 });
const facts = new Facts(byId("facts"), id);
async function showJob() {
  await refresh(new Set(["jobs"]));
  byId("jobs").scrollIntoView({ block: "nearest" });
}

const form = readOnly ? null : new JobForm(byId("form"), `/api/scans/${id}`, { started: showJob, reading: (values) => {
  if (facts.setValues(values)) facts.refresh().catch(fail);
} });

async function refresh(kinds) {
  if (kinds.has("facts")) await facts.refresh();
  if (kinds.has("jobs")) await jobs.refresh();
  if (kinds.has("jobs") || kinds.has("scans")) {
    const scan = await fetchJson(`/api/scans/${id}`);
    byId("file").textContent = [scan.format, formatSize(scan.size_bytes), formatDate(scan.changed)].join(" · ");
    form?.update(scan);
  }
  if (kinds.has("scans")) await facts.refresh(); // of a new version of the file
  byId("connection-error").hidden = true;
}

function fail(error) {
  byId("connection-error").textContent = reasonOf(error);
  byId("connection-error").hidden = false;
}

try {
  await form?.load(await fetchJson(`/api/scans/${id}`));
} catch (error) {
  fail(error);
}
follow(() => [["jobs", ""], ["scans", ""], ["facts", id]], refresh, fail);
