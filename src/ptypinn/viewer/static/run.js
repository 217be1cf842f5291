// The page of one run: connects the canvas with its controls, and follows a run in progress.

import { Comparison } from "./comparison.js";
import { fetchJson, reasonOf } from "./api.js";
import { follow } from "./events.js";
import { Gestures } from "./gestures.js";
import { JobList } from "./jobs.js";
import { Limits } from "./limits.js";
import { isLive, Live } from "./live.js";
import { Patterns } from "./patterns.js";
import { Profile } from "./profile.js";
import { placePicture, Stage } from "./stage.js";
import { StatusPanel } from "./status.js";
import { Swipe } from "./swipe.js";
import { metres, rounded } from "./units.js";
import { Values } from "./values.js";

const byId = (id) => document.getElementById(id);

const GONE = "This run has left nothing: it was ended before its first result, or deleted.";
const id = location.pathname.split("/").pop();
const hash = new URLSearchParams(location.hash.slice(1));
let runs = []; // the run, and the one to compare it with
let current = false; // true if the page shows the newest pictures
let shownLive = false; // true if they were shown as those of a scan in progress
let sides = []; // the runs on show, each with its placement in the world of the first
let layer = hash.get("layer") ?? "amplitude";
let line = null; // line during a drag: two world points
let hovered = null;
let stage = null;
let reconnect = () => {}; // follow the events of the runs on show

const view = byId("view");
const redraw = () => stage.requestDraw();
const swipe = new Swipe(byId("swipe"), () => stage?.requestDraw());
const profile = new Profile(byId("profile"), () => stage?.requestDraw());
const patterns = new Patterns(byId("patterns"), redraw);
const statusPanel = new StatusPanel(byId("status"), byId("badge"));
const limits = new Limits(byId("colours"), () => stage.setDisplay(display()));
const values = new Values(() => updateReadout());
const jobs = new JobList(byId("jobs"), { filter: (job) => job.run === id && job.state !== "finished", kept: 1 });
const live = new Live(id, () => stage?.requestDraw());
const comparison = new Comparison(byId("alignment"));
stage = new Stage(
  view,
  { swipe, profile, patterns, live, line: () => line, showPositions: () => byId("positions").checked },
  () => refresh(),
);

const display = () => ({ layer, ...limits.display(), weak: byId("weak").checked });

// Update everything that depends on the runs and their pictures.
async function present() {
  let shown = await comparison.align(runs);
  current = Boolean(shown);
  if (!current) return; // one of them has a newer picture: the next update shows it
  byId("empty").hidden = shown.length > 0;
  byId("empty").textContent = runs[0].status === "running" ? "No picture yet." : "This run has no object.";
  byId("layout").toggleAttribute("data-picture", Boolean(runs[0].picture));
  if (!runs[0].picture) return;
  const layers = [...runs[0].picture.layers, ...comparison.layers];
  if (!layers.some(({ name }) => name === layer)) layer = layers[0].name;
  for (const choice of document.querySelectorAll("input[name=layer]")) {
    choice.checked = choice.value === layer;
    choice.parentElement.hidden = !layers.some(({ name }) => name === choice.value);
  }
  presentSlices(runs[0].picture);
  sides = shown.map((run) => ({ run, place: placePicture(run, shown[0]) }));
  if (comparison.hasLayer(layer)) shown = [comparison.difference];
  limits.show(shown[0], layers.find(({ name }) => name === layer));
  byId("swipe").hidden = shown.length < 2;
  byId("left-name").hidden = byId("right-name").hidden = shown.length < 2;
  byId("left-name").textContent = runs[0].name;
  byId("right-name").textContent = shown[1]?.name ?? "";
  byId("weak-choice").hidden = !layers.some(({ name }) => name === "illumination");
  stage.present(shown, display());
  shownLive = live.isOn;
  if (!live.isOn) patterns.load(runs[0]);
  profile.show(profile.line, sides, layer);
  remember();
}

// Offer the slices of a thick sample, in the order of the beam, beside all of them together.
function presentSlices(picture) {
  byId("slice-choice").hidden = !picture.slices;
  const choice = byId("slice");
  if (choice.length !== picture.slices + 1) {
    const names = ["all together", ...Array.from({ length: picture.slices }, (_, k) => `${k + 1} of ${picture.slices}`)];
    choice.replaceChildren(...names.map((name, k) => new Option(name, k)));
  }
  choice.value = picture.slice;
}

async function refresh() {
  try {
    const ids = [id, hash.get("with")].filter(Boolean);
    const query = hash.has("slice") ? `?slice=${hash.get("slice")}` : "";
    const newRuns = await Promise.all(ids.map((runId) => fetchJson(`/api/runs/${runId}${query}`)));
    byId("connection-error").hidden = true;
    const before = runs;
    runs = newRuns;
    const inProgress = isLive(runs[0]);
    if (inProgress && live.isOn) runs[0].picture = before[0].picture; // a newer one comes with the state of the scan
    else if (inProgress || live.isOn) await takeLivePicture();
    if (inProgress !== Boolean(before[0] && isLive(before[0]))) reconnect();
    statusPanel.show(runs[0]);
    const key = (run) => `${run?.id} ${run?.picture?.version}`;
    const changed = runs.length !== before.length || runs.some((run, k) => key(run) !== key(before[k]));
    if (changed || !current || shownLive !== live.isOn) await present();
  } catch (error) {
    byId("connection-error").hidden = false;
    const isGone = error.status === 404 && runs.length < 2;
    byId("connection-error").textContent = isGone ? GONE : reasonOf(error);
    if (isGone) byId("badge").textContent = "";
    if (error.status === 404 && hash.has("with")) compareWith("");
  }
}

// Take over state and picture of a scan in progress, or leave its page for that of a finished run.
async function takeLivePicture() {
  const before = runs[0].picture?.version;
  const picture = await live.refresh();
  if (picture) runs[0].picture = picture;
  if (live.isOn) statusPanel.showBadge({ ...runs[0], live: live.live });
  return runs[0].picture?.version !== before;
}

function compareWith(other) {
  if (other) hash.set("with", other);
  else hash.delete("with");
  byId("other-run").value = other;
  refresh();
  reconnect();
}

function remember() {
  hash.set("layer", layer);
  history.replaceState(null, "", `#${hash}`);
}

// Show the value under the pointer.
function updateReadout() {
  const target = hovered && stage.pixelAt(hovered);
  const readout = byId("readout");
  if (!target) {
    readout.textContent = "";
    return;
  }
  const { run, x, y } = target;
  const pixel = run.picture.pixel_size_m;
  const lengths = pixel ? `, ${metres(y * pixel, 4)}, ${metres(x * pixel, 4)}` : "";
  const pixelValue = values.at(run, x, y);
  const inside = x >= 0 && y >= 0 && x < run.picture.width && y < run.picture.height;
  const both = (one) => `amplitude ${rounded(one.amplitude)}, phase ${rounded(one.phase, 3)} rad`;
  const describe = (one) => (comparison.hasLayer(layer) ? `modulus of the difference ${rounded(one.amplitude)}` : both(one));
  const value = pixelValue ? describe(pixelValue) : "…";
  readout.textContent = inside ? `y ${Math.floor(y)}, x ${Math.floor(x)} px${lengths}: ${value}` : "";
}

function setDrawing(active) {
  gestures.drawing = active;
  byId("line").setAttribute("aria-pressed", active);
  view.classList.toggle("drawing", active);
}

function endLine(point) {
  const [from] = line;
  const to = stage.camera.toWorld(point.x, point.y);
  line = null;
  setDrawing(false);
  const longEnough = Math.hypot(to.x - from.x, to.y - from.y) * stage.camera.scale > 5;
  if (longEnough) profile.show([from, to], sides, layer);
  redraw();
}

// Draw a horizontal line across the centre of the view; the keyboard alternative to a drag.
function lineAcross() {
  const { camera } = stage;
  const ends = [0.1, 0.9].map((fraction) => camera.toWorld(fraction * camera.width, camera.height / 2));
  profile.show(ends, sides, layer);
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
  zoom: (point, factor) => stage.zoom(point, factor),
  hover: (point) => {
    hovered = point;
    updateReadout();
  },
  leave: () => {
    hovered = null;
    updateReadout();
  },
  tap: (point) => {
    hovered = point;
    updateReadout();
    const target = stage.pixelAt(point);
    if (!target) return;
    const { place } = sides[0];
    patterns.selectAt((target.world.x - place.x) / place.pixel, (target.world.y - place.y) / place.pixel);
  },
  lineStart: (point) => {
    line = [stage.camera.toWorld(point.x, point.y), stage.camera.toWorld(point.x, point.y)];
  },
  lineMove: (point) => {
    line[1] = stage.camera.toWorld(point.x, point.y);
    redraw();
  },
  lineEnd: endLine,
  key: (key) => {
    const action = keys[key] ?? keys[key.toLowerCase()];
    action?.();
    return Boolean(action);
  },
});

function connect() {
  const centre = () => ({ x: stage.camera.width / 2, y: stage.camera.height / 2 });
  byId("zoom-in").addEventListener("click", () => stage.zoom(centre(), 1.5));
  byId("zoom-out").addEventListener("click", () => stage.zoom(centre(), 1 / 1.5));
  byId("fit").addEventListener("click", () => stage.fit());
  byId("true-size").addEventListener("click", () => stage.trueSize());
  byId("line").addEventListener("click", () => setDrawing(!gestures.drawing));
  byId("clear-line").addEventListener("click", () => profile.clear());
  byId("positions").addEventListener("change", redraw);
  byId("weak").addEventListener("change", () => stage.setDisplay(display()));
  byId("slice").addEventListener("change", () => {
    hash.set("slice", byId("slice").value);
    refresh();
  });
  byId("other-run").addEventListener("change", () => compareWith(byId("other-run").value));
  for (const choice of document.querySelectorAll("input[name=layer]")) {
    choice.addEventListener("change", () => {
      layer = choice.value;
      present();
    });
  }
}

async function listOtherRuns() {
  const { runs: all } = await fetchJson("/api/runs");
  const others = all.filter((run) => run.id !== id && run.version);
  byId("other-run").append(...others.map((run) => new Option(run.name, run.id)));
  byId("other-run").value = hash.get("with") ?? "";
  byId("compare").hidden = !others.length;
}

connect();
listOtherRuns().catch(() => {});
await refresh();
function subjects() {
  const own = [id, hash.get("with")].filter(Boolean).map((runId) => ["run", runId]);
  return [["jobs", ""], ...own, ...(runs[0] && isLive(runs[0]) ? [["live", id]] : [])];
}

async function update(kinds) {
  if (kinds.has("live") && (await takeLivePicture())) await present();
  if (kinds.has("live") && !live.isOn) await refresh();
  if (kinds.has("jobs")) await jobs.refresh().catch(() => {});
  if (kinds.has("run")) await refresh();
}
reconnect = follow(subjects, update, () => refresh());
