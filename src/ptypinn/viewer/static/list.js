// The list of runs: newest first, with a picture, how it went, and a way to compare two.

import { askJson, repeat } from "./api.js";
import { badgeOf, element, when } from "./status.js";

const THUMBNAIL = { loading: "lazy", width: 96, height: 96 };
const byId = (id) => document.getElementById(id);
const chosen = new Set();
let shown = "";

function card(run) {
  const [text, kind] = badgeOf(run);
  const picture = run.version
    ? element("img", "", { src: `/api/runs/${run.id}/thumbnail.png?${run.version}`, alt: "", ...THUMBNAIL })
    : element("span", "nothing yet", { className: "blank" });
  const made = [run.stage, when(run.changed)].filter(Boolean).join(" · ");
  const link = element("a", run.name, { href: `/run/${run.id}` });
  const figures = run.figures.map(({ label, value, unit, meaning }) =>
    element("span", [`${label} `, element("b", `${value} ${unit}`.trim())], { title: meaning }));
  const box = element("input", "", { type: "checkbox", checked: chosen.has(run.id), disabled: !run.version });
  box.addEventListener("change", () => choose(run.id, box.checked));
  return element("li", [
    element("div", picture, { className: "thumbnail" }),
    element("div", [
      element("h2", link),
      element("p", [element("span", text, { className: `badge ${kind}` }), ` ${made}`], { className: "muted" }),
      element("p", figures, { className: "figures" }),
    ], { className: "about" }),
    element("label", [box, " compare"], { className: "compare" }),
  ], { className: "card" });
}

function choose(id, on) {
  if (on) chosen.add(id);
  else chosen.delete(id);
  if (chosen.size > 2) chosen.delete(chosen.values().next().value);
  shown = "";
  present();
}

let runs = [];

function present() {
  const words = byId("filter").value.toLowerCase().split(/\s+/);
  const about = (run) => `${run.name} ${run.stage} ${badgeOf(run)[0]}`.toLowerCase();
  const found = runs.filter((run) => words.every((word) => about(run).includes(word)));
  const text = JSON.stringify([found, [...chosen]]);
  if (text === shown) return; // nothing has changed: leave focus and scrolling alone
  shown = text;
  const focused = document.activeElement?.closest?.("li.card")?.dataset.id;
  byId("runs").replaceChildren(...found.map((run) => Object.assign(card(run), { id: `run-${run.id}` })));
  for (const item of byId("runs").children) item.dataset.id = item.id.slice(4);
  if (focused) byId(`run-${focused}`)?.querySelector("input").focus();
  byId("count").textContent = found.length < runs.length ? `${found.length} of ${runs.length}` : `${runs.length}`;
  const [one, other] = chosen;
  byId("compare").hidden = chosen.size < 2;
  if (other) byId("compare").href = `/run/${one}#with=${other}`;
}

async function refresh() {
  try {
    ({ runs } = await askJson("/api/runs"));
    runs.sort((one, other) => other.changed.localeCompare(one.changed));
    byId("lost").hidden = true;
    present();
  } catch {
    byId("lost").hidden = false;
  }
}

byId("filter").addEventListener("input", present);
await refresh();
repeat(refresh, () => 4000);
