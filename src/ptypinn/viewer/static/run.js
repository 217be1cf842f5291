// The page of one run: joins the stage with its controls, and keeps up with a run in progress.

import { Comparison } from "./comparison.js";
import { askJson, repeat } from "./api.js";
import { Gestures } from "./gestures.js";
import { Limits } from "./limits.js";
import { Patterns } from "./patterns.js";
import { Profile } from "./profile.js";
import { placeOf, Stage } from "./stage.js";
import { Standing } from "./status.js";
import { Swipe } from "./swipe.js";
import { metres, rounded } from "./units.js";
import { Values } from "./values.js";

const byId = (id) => document.getElementById(id);
const [OFTEN, SELDOM] = [2000, 5000]; // milliseconds between looks at a run in progress or lost, and at one that is over

const id = location.pathname.split("/").pop();
const hash = new URLSearchParams(location.hash.slice(1));
let runs = []; // the run, and the one to compare it with
let current = false; // whether all that is known is shown
let compared = []; // the same as they are shown, each with its place in the world of the first
let layer = hash.get("layer") ?? "amplitude";
let line = null; // being drawn: two world points
let hovered = null;
let stage = null;

const view = byId("view");
const ask = () => stage.ask();
const swipe = new Swipe(byId("swipe"), () => stage?.ask());
const profile = new Profile(byId("profile"), () => stage?.ask());
const patterns = new Patterns(byId("patterns"), ask);
const standing = new Standing(byId("standing"), byId("badge"));
const limits = new Limits(byId("colours"), () => stage.look(look()));
const values = new Values(() => tell());
const comparison = new Comparison(byId("aligned"));
stage = new Stage(
  view,
  { swipe, profile, patterns, line: () => line, showPositions: () => byId("positions").checked },
  () => refresh(),
);

const look = () => ({ layer, ...limits.look(), dim: byId("dim").checked });

// Everything that depends on which runs there are, and in which state.
async function present() {
  let shown = await comparison.of(runs);
  current = Boolean(shown);
  if (!current) return; // one of them has gone on meanwhile: it is on its way
  byId("empty").hidden = shown.length > 0;
  byId("empty").textContent = runs[0].status === "running" ? "Nothing to see yet." : "This run has no object to show.";
  byId("desk").toggleAttribute("data-picture", Boolean(runs[0].picture));
  if (!runs[0].picture) return;
  const offered = [...runs[0].picture.layers, ...comparison.layers];
  if (!offered.some(({ name }) => name === layer)) layer = offered[0].name;
  for (const choice of document.querySelectorAll("input[name=layer]")) {
    choice.checked = choice.value === layer;
    choice.parentElement.hidden = !offered.some(({ name }) => name === choice.value);
  }
  compared = shown.map((run) => ({ run, at: placeOf(run, shown[0]) }));
  if (comparison.isOf(layer)) shown = [comparison.difference];
  limits.show(shown[0], offered.find(({ name }) => name === layer));
  byId("swipe").hidden = shown.length < 2;
  byId("left-name").hidden = byId("right-name").hidden = shown.length < 2;
  byId("left-name").textContent = runs[0].name;
  byId("right-name").textContent = shown[1]?.name ?? "";
  byId("dim-choice").hidden = !offered.some(({ name }) => name === "illumination");
  stage.present(shown, look());
  patterns.load(runs[0]);
  profile.show(profile.line, compared, layer);
  remember();
}

async function refresh() {
  try {
    const wanted = [id, hash.get("with")].filter(Boolean);
    const found = await Promise.all(wanted.map((one) => askJson(`/api/runs/${one}`)));
    byId("lost").hidden = true;
    const before = runs;
    runs = found;
    standing.show(runs[0]);
    const key = (run) => `${run?.id} ${run?.picture?.version}`;
    const changed = runs.length !== before.length || runs.some((run, k) => key(run) !== key(before[k]));
    if (changed || !current) await present();
  } catch (error) {
    byId("lost").hidden = false;
    byId("lost").textContent = error.status ? error.message : "The viewer does not answer: is it still running?";
    if (error.status === 404 && hash.has("with")) compareWith("");
  }
}

function compareWith(other) {
  if (other) hash.set("with", other);
  else hash.delete("with");
  byId("with").value = other;
  refresh();
}

function remember() {
  hash.set("layer", layer);
  history.replaceState(null, "", `#${hash}`);
}

// The value under the pointer.
function tell() {
  const at = hovered && stage.under(hovered);
  const words = byId("readout");
  if (!at) {
    words.textContent = "";
    return;
  }
  const { run, x, y } = at;
  const pixel = run.picture.pixel_size_m;
  const place = pixel ? `, ${metres(y * pixel, 4)}, ${metres(x * pixel, 4)}` : "";
  const found = values.at(run, x, y);
  const inside = x >= 0 && y >= 0 && x < run.picture.width && y < run.picture.height;
  const all = (one) => `amplitude ${rounded(one.amplitude)}, phase ${rounded(one.phase, 3)} rad`;
  const told = (one) => (comparison.isOf(layer) ? `modulus of the difference ${rounded(one.amplitude)}` : all(one));
  const value = found ? told(found) : "…";
  words.textContent = inside ? `y ${Math.floor(y)}, x ${Math.floor(x)} px${place}: ${value}` : "";
}

function setDrawing(on) {
  gestures.drawing = on;
  byId("line").setAttribute("aria-pressed", on);
  view.classList.toggle("drawing", on);
}

function endLine(at) {
  const [from] = line;
  const to = stage.camera.toWorld(at.x, at.y);
  line = null;
  setDrawing(false);
  const long = Math.hypot(to.x - from.x, to.y - from.y) * stage.camera.scale > 5;
  if (long) profile.show([from, to], compared, layer);
  ask();
}

// A level line through the middle of the view, for those who do not drag.
function lineAcross() {
  const { camera } = stage;
  const across = [0.1, 0.9].map((share) => camera.toWorld(share * camera.width, camera.height / 2));
  profile.show(across, compared, layer);
}

const keys = {
  0: () => stage.fit(),
  1: () => stage.trueSize(),
  l: lineAcross,
  p: () => byId("positions").click(),
  n: () => patterns.step(1),
  b: () => patterns.step(-1),
  Escape: () => (gestures.drawing ? setDrawing(false) : profile.clear()),
};

const gestures = new Gestures(view, {
  pan: (dx, dy) => stage.pan(dx, dy),
  zoom: (at, factor) => stage.zoom(at, factor),
  hover: (at) => {
    hovered = at;
    tell();
  },
  leave: () => {
    hovered = null;
    tell();
  },
  tap: (at) => {
    hovered = at;
    tell();
    const place = stage.under(at);
    if (!place) return;
    const { at: first } = compared[0];
    patterns.pickAt((place.world.x - first.x) / first.pixel, (place.world.y - first.y) / first.pixel);
  },
  lineStart: (at) => {
    line = [stage.camera.toWorld(at.x, at.y), stage.camera.toWorld(at.x, at.y)];
  },
  lineMove: (at) => {
    line[1] = stage.camera.toWorld(at.x, at.y);
    ask();
  },
  lineEnd: endLine,
  key: (key) => {
    const act = keys[key] ?? keys[key.toLowerCase()];
    act?.();
    return Boolean(act);
  },
});

function connect() {
  const middle = () => ({ x: stage.camera.width / 2, y: stage.camera.height / 2 });
  byId("closer").addEventListener("click", () => stage.zoom(middle(), 1.5));
  byId("farther").addEventListener("click", () => stage.zoom(middle(), 1 / 1.5));
  byId("fit").addEventListener("click", () => stage.fit());
  byId("true-size").addEventListener("click", () => stage.trueSize());
  byId("line").addEventListener("click", () => setDrawing(!gestures.drawing));
  byId("clear-line").addEventListener("click", () => profile.clear());
  byId("positions").addEventListener("change", ask);
  byId("dim").addEventListener("change", () => stage.look(look()));
  byId("with").addEventListener("change", () => compareWith(byId("with").value));
  for (const choice of document.querySelectorAll("input[name=layer]")) {
    choice.addEventListener("change", () => {
      layer = choice.value;
      present();
    });
  }
}

async function offerOthers() {
  const { runs: all } = await askJson("/api/runs");
  const others = all.filter((run) => run.id !== id && run.version);
  byId("with").append(...others.map((run) => new Option(run.name, run.id)));
  byId("with").value = hash.get("with") ?? "";
  byId("compare").hidden = !others.length;
}

connect();
offerOthers().catch(() => {});
await refresh();
const busy = () => !byId("lost").hidden || runs.some((run) => run.status === "running");
repeat(refresh, () => (busy() ? OFTEN : SELDOM));
