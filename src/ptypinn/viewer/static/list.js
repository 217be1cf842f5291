// The list of runs: newest first, with thumbnail, status and metrics, and a choice of two to compare.

import { fetchJson, repeat } from "./api.js";
import { element, formatDate, statusBadge } from "./status.js";

const THUMBNAIL = { loading: "lazy", width: 96, height: 96 };
const byId = (id) => document.getElementById(id);
const selected = new Set(); // ids of the runs to compare
let rendered = ""; // state of the list on the page

function card(run) {
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
      element("h2", link),
      element("p", [element("span", text, { className: `badge ${kind}` }), ` ${description}`], { className: "muted" }),
      element("p", metrics, { className: "metrics" }),
    ], { className: "about" }),
    element("label", [box, " compare"], { className: "compare" }),
  ], { className: "card" });
}

function select(id, checked) {
  if (checked) selected.add(id);
  else selected.delete(id);
  if (selected.size > 2) selected.delete(selected.values().next().value);
  rendered = "";
  present();
}

let runs = [];

function present() {
  const words = byId("filter").value.toLowerCase().split(/\s+/);
  const searchText = (run) => `${run.name} ${run.stage} ${statusBadge(run)[0]}`.toLowerCase();
  const matches = runs.filter((run) => words.every((word) => searchText(run).includes(word)));
  const text = JSON.stringify([matches, [...selected]]);
  if (text === rendered) return; // unchanged: focus and scroll position stay
  rendered = text;
  const focused = document.activeElement?.closest?.("li.card")?.dataset.id;
  byId("runs").replaceChildren(...matches.map((run) => Object.assign(card(run), { id: `run-${run.id}` })));
  for (const item of byId("runs").children) item.dataset.id = item.id.slice(4);
  if (focused) byId(`run-${focused}`)?.querySelector("input").focus();
  byId("count").textContent = matches.length < runs.length ? `${matches.length} of ${runs.length}` : `${runs.length}`;
  const [first, second] = selected;
  byId("compare").hidden = selected.size < 2;
  if (second) byId("compare").href = `/run/${first}#with=${second}`;
}

async function refresh() {
  try {
    ({ runs } = await fetchJson("/api/runs"));
    runs.sort((a, b) => b.changed.localeCompare(a.changed));
    byId("connection-error").hidden = true;
    present();
  } catch {
    byId("connection-error").hidden = false;
  }
}

byId("filter").addEventListener("input", present);
await refresh();
repeat(refresh, () => 4000);
