// The list: jobs, scans, and runs, newest first, with thumbnail, status and metrics, and a choice of two to compare.

import { fetchJson, reasonOf } from "./api.js";
import { element, formatDate, formatSize } from "./elements.js";
import { follow } from "./events.js";
import { JobForm } from "./form.js";
import { JobList, readOnly } from "./jobs.js";
import { isLive } from "./live.js";
import { statusBadge } from "./status.js";

const THUMBNAIL = { loading: "lazy", width: 96, height: 96 };
const byId = (id) => document.getElementById(id);
const selected = new Set(); // ids of the runs to compare
const jobs = new JobList(byId("jobs"), { hidesFinished: true });
let [runs, scans, searching] = [[], [], false];
const live = readOnly ? null : new JobForm(byId("form"), "/api/source", { started: showJob, offers: ({ source }) => source });
const cards = {}; // cards of the lists on the page by id, with the content that each shows

function runCard(run) {
  const [text, kind] = statusBadge(run);
  const picture = run.version
    ? element("img", "", { src: `/api/runs/${run.id}/thumbnail.png?${run.version}`, alt: "", ...THUMBNAIL })
    : element("span", "no picture yet", { className: "blank" });
  const description = [run.stage, formatDate(run.changed)].filter(Boolean).join(" · ");
  const link = element("a", run.name, { href: `/run/${run.id}` });
  const metrics = run.metrics.map(({ label, value, unit, meaning }) =>
    element("span", [`${label} `, element("b", `${value} ${unit}`.trim())], { title: meaning }));
  const box = element("input", "", { type: "checkbox", checked: selected.has(run.id), disabled: !run.version });
  box.addEventListener("change", () => select(run.id, box.checked));
  return element("li", [
    element("div", picture, { className: "thumbnail" }),
    element("div", [
      element("h3", link),
      element("p", [element("span", text, { className: `badge ${kind}` }), ` ${description}`], { className: "muted" }),
      isLive(run) ? liveLine(run.live) : element("p", metrics, { className: "metrics" }),
    ], { className: "about" }),
    element("label", [box, " compare"], { className: "compare" }),
  ], { className: `card${isLive(run) ? " live-card" : ""}`, id: `run-${run.id}` });
}

// Verdict so far and frames of a scan in progress.
function liveLine({ verdict, frames, alerts, level }) {
  const alert = alerts.find(({ active }) => active);
  const { received, expected } = frames;
  const share = received === null ? "" : ` · ${received}${expected === null ? "" : ` of ${expected}`} frames`;
  return element("p", [element("b", alert?.text ?? verdict.text), share], { className: `live-line ${level}` });
}

const isRunning = (run) => isLive(run) && run.live.is_active;

function scanCard(scan) {
  const description = [scan.format, formatSize(scan.size_bytes), formatDate(scan.changed)].join(" · ");
  const link = element("a", scan.name, { href: `/scan/${scan.id}` });
  const about = element("div", [element("h3", link), element("p", description, { className: "muted" })], { className: "about" });
  return element("li", about, { className: "card scan-card", id: `scan-${scan.id}` });
}

function select(id, checked) {
  if (checked) selected.add(id);
  else selected.delete(id);
  if (selected.size > 2) selected.delete(selected.values().next().value);
  present();
}

// Fill a list with cards: those whose content has not changed stay, with focus and scroll position.
function fill(name, all, matches, card) {
  const before = cards[name] ?? new Map();
  cards[name] = new Map(matches.map((item) => {
    const text = JSON.stringify([item, selected.has(item.id)]);
    const same = before.get(item.id);
    return [item.id, same?.text === text ? same : { text, node: card(item) }];
  }));
  const nodes = [...cards[name].values()].map(({ node }) => node);
  const root = byId(name);
  const focused = root.contains(document.activeElement) && document.activeElement;
  const [place, tag] = [focused && focused.closest("li").id, focused && focused.tagName];
  const staying = new Set(nodes);
  for (const node of [...root.children]) if (!staying.has(node)) node.remove();
  nodes.forEach((node, k) => {
    if (root.children[k] !== node) root.insertBefore(node, root.children[k] ?? null);
  });
  if (place && !root.contains(document.activeElement)) byId(place)?.querySelector(tag).focus();
  root.closest("section").hidden = !all.length;
}

const countText = (all, matches) => (matches.length < all.length ? `${matches.length} of ${all.length}` : `${all.length}`);

function present() {
  const words = byId("filter").value.toLowerCase().split(/\s+/);
  const matching = (items, text) => items.filter((item) => words.every((word) => text(item).toLowerCase().includes(word)));
  const shownRuns = matching(runs, (run) => `${run.name} ${run.stage} ${statusBadge(run)[0]}`);
  const shownScans = matching(scans, (scan) => `${scan.name} ${scan.format}`);
  fill("runs", runs, shownRuns, runCard);
  fill("scans", scans, shownScans, scanCard);
  byId("count").textContent = countText(runs, shownRuns);
  byId("scan-count").textContent = countText(scans, shownScans) + (searching ? ", searching …" : "");
  byId("nothing").hidden = Boolean(runs.length || scans.length) || searching;
  const [first, second] = selected;
  byId("compare").hidden = selected.size < 2;
  if (second) byId("compare").href = `/run/${first}#with=${second}`;
}

async function showJob() {
  await refresh(new Set(["jobs"]));
  byId("jobs").scrollIntoView({ block: "nearest" });
}

async function refresh(kinds) {
  if (kinds.has("jobs")) {
    await jobs.refresh();
    live?.update(await fetchJson("/api/source"));
  }
  if (kinds.has("scans")) {
    ({ scans, searching } = await fetchJson("/api/scans"));
    scans.sort((a, b) => b.changed.localeCompare(a.changed));
  }
  if (kinds.has("runs")) {
    ({ runs } = await fetchJson("/api/runs"));
    runs.sort((a, b) => isRunning(b) - isRunning(a) || b.changed.localeCompare(a.changed));
  }
  byId("connection-error").hidden = true;
  present();
}

function fail(error) {
  byId("connection-error").textContent = reasonOf(error);
  byId("connection-error").hidden = false;
}

// The form, where there is a folder for runs.
async function loadForm() {
  const proposals = await fetchJson("/api/source");
  if (!Object.keys(proposals.outputs).length) return;
  await live.load(proposals);
  byId("live").hidden = false;
}

byId("filter").addEventListener("input", present);
if (live) await loadForm().catch(fail);
await refresh(new Set(["jobs", "scans", "runs"])).catch(fail);
follow(() => [["jobs", ""], ["scans", ""], ["runs", ""]], refresh, fail);
