// A scan in progress: verdict, rates, frames, alerts, newest pattern and map, beside the picture that grows.

import { fetchChecked, fetchJson } from "./api.js";
import { element, formatDuration } from "./elements.js";
import { PositionMap, unpackPositions } from "./live_map.js";
import { rounded } from "./units.js";

const STATES = {
  waiting: ["waiting for frames", "live"],
  receiving: ["receiving", "live"],
  finishing: ["finishing", "live"],
  finished: ["finished", "good"],
  failed: ["failed", "warn"],
  stopped: ["stopped", "warn"],
  interrupted: ["interrupted", "warn"],
};
const REASONS = {
  failed: "The run has failed: see the log.",
  stopped: "The run was stopped. The same command goes on with the frames that were received.",
  interrupted: "The process of the run has ended. The same command goes on with the frames that were received.",
};
const MARKS = { alert: "!", good: "✓", fair: "~", poor: "✗" };
const LOSSES = [
  ["repeated", "repeated, used once"],
  ["rejected", "rejected as no frames"],
  ["dropped", "dropped"],
  ["without_position", "without a position"],
];
const STALE_S = 5; // age of the state that is stated
const STEADY = 0.15; // change of a colour limit, as a fraction of the range, that is taken over

export const liveBadge = (live) => STATES[live.state];
export const isLive = (run) => Boolean(run.live) && run.live.state !== "finished";
const count = (value) => (value === null ? "–" : value.toLocaleString("en"));
const percent = (part, whole) => `${(100 * Math.min(1, (part ?? 0) / Math.max(1, whole))).toFixed(2)}%`;

export class Live {
  // `changed` is called when there is more to draw on the picture.
  constructor(id, changed) {
    this.id = id;
    this.changed = changed;
    this.find = (name) => document.querySelector(`[data-live=${name}]`);
    this.map = new PositionMap(this.find("map"));
    this.isOn = false;
    this.positions = null;
    this.limits = {};
    setInterval(() => this.showAge(), 1000);
    document.addEventListener("visibilitychange", () => this.stayAwake());
  }

  // Take over the newest state; return the description of the picture, or null once the run is finished.
  async refresh() {
    const content = await fetchJson(`/api/runs/${this.id}/live`);
    this.setOn(Boolean(content.live) && content.live.state !== "finished");
    if (!this.isOn) return null;
    this.received = performance.now();
    this.live = content.live;
    this.show(content.live);
    this.showPattern(content.pattern);
    this.showPositions(content.positions, content.pattern?.size_px ?? 0).catch(() => {}); // the next update brings others
    return this.steady(content.picture);
  }

  setOn(on) {
    if (on === this.isOn) return;
    this.isOn = on;
    document.body.classList.toggle("live", on);
    for (const node of document.querySelectorAll("[data-live-part]")) node.hidden = !on;
    if (!on) this.positions = null;
    this.stayAwake();
  }

  show(live) {
    const { frames, backlog, rates_hz: rates } = live;
    const isOver = live.state === "finishing";
    const ended = REASONS[live.state];
    this.find("verdict").textContent = ended ?? live.verdict.text;
    this.find("summary").dataset.level = ended ? "alert" : live.level;
    this.find("mark").textContent = ended ? "!" : MARKS[live.level] ?? "…";
    const reasons = [...(ended ? [live.verdict.text] : []), ...live.verdict.reasons.filter((line) => line !== live.mode_text)];
    if (isOver) reasons.unshift("The scan is over: the closing pass takes all of its frames into the picture.");
    else if (live.mode_text) reasons.push(live.mode_text);
    fill(this.find("reasons"), reasons.filter(Boolean), (line) => element("li", line));
    const delay = live.misfit === null || isOver ? null : backlog.delay_s;
    this.find("delay").textContent = delay === null ? "–" : delay < 10 ? `${delay.toFixed(1)} s` : formatDuration(delay);
    for (const name of ["received", "solved"]) {
      this.find(`${name}-hz`).textContent = rates[name] === null || isOver ? "–" : rounded(rates[name], 3);
    }
    this.find("backlog").textContent = count(backlog.frames);
    this.showFrames(frames);
    this.showAlerts(live.alerts);
    this.find("source").textContent = live.source;
    this.find("probe").textContent = live.probe;
    this.find("misfit").textContent = live.misfit === null ? "–" : `${rounded(live.misfit, 3)} × counting noise`;
    this.showAge();
  }

  showFrames(stated) {
    const joined = Math.max(stated.joined ?? 0, stated.solved ?? 0); // which are counted later than those received
    const frames = { ...stated, joined, received: Math.max(stated.received ?? 0, joined) };
    const whole = frames.expected ?? frames.received;
    for (const name of ["received", "joined", "solved"]) this.find(`bar-${name}`).style.width = percent(frames[name], whole);
    const parts = [
      [frames.expected === null ? "" : `${count(frames.expected)} expected`],
      [`${count(frames.received)} received`, "received"],
      [`${count(frames.joined)} joined`, "joined"],
      [`${count(frames.solved)} in the picture`, "solved"],
    ];
    this.find("counts").replaceChildren(...parts.filter(([text]) => text).map(([text, name]) =>
      element("span", [name ? element("i", "", { className: `key ${name}` }) : "", text])));
    this.find("bar").setAttribute("aria-label", parts.map(([text]) => text).filter(Boolean).join(", "));
    const lines = LOSSES.filter(([name]) => frames[name]).map(([name, words]) => `${count(frames[name])} ${words}`);
    if (frames.left_out) lines.push(`${count(frames.left_out)} left out of the picture – ${frames.left_out_text}`);
    if (frames.n_missing) lines.unshift(`${count(frames.n_missing)} not come: ${frames.missing}`);
    fill(this.find("losses"), lines.length ? lines : ["No frame is lost, repeated or rejected."], (line) => element("li", line));
    this.find("losses").classList.toggle("warnings", lines.length > 0);
    const newest = Math.max(frames.newest ?? -1, frames.newest_solved ?? -1);
    this.find("newest-frame").textContent = newest < 0 ? "–" : count(newest);
  }

  showAlerts(alerts) {
    const line = ({ text, since_number: since }) =>
      (since === null || text.includes("since") ? text : `${text} (since frame ${since})`);
    const banner = (text) => element("p", [element("b", "Look at the experiment: "), text]);
    fill(this.find("alerts"), alerts.filter(({ active }) => active).map(line), banner);
    const past = alerts.filter(({ active }) => !active).map(line);
    fill(this.find("past-alerts"), past, (text) => element("li", text));
    this.find("past").hidden = !past.length;
  }

  // State how old the state is where nothing has come for a while.
  showAge() {
    if (!this.isOn || !this.live) return;
    const age = (this.live.age_s ?? 0) + (performance.now() - this.received) / 1000;
    const stale = this.live.state === "receiving" && age > STALE_S;
    this.find("age").textContent = stale ? `The solver has said nothing for ${formatDuration(age)}.` : "";
    this.find("age").hidden = !stale;
  }

  showPattern(pattern) {
    this.find("pattern").hidden = !pattern;
    if (!pattern) return;
    this.find("number").textContent = count(pattern.number);
    for (const image of this.find("pattern").querySelectorAll("img")) {
      const url = `${pattern.base}/${image.dataset.liveKind}.png`;
      if (image.getAttribute("src") !== url) image.src = url;
    }
  }

  async showPositions(url, size) {
    if (url === this.positionsUrl) return;
    this.positionsUrl = url;
    const response = await fetchChecked(url);
    const positions = unpackPositions(await response.arrayBuffer(), size);
    if (url !== this.positionsUrl) return;
    this.positions = positions;
    this.map.show(positions);
    this.changed();
  }

  // Leave the default colour limits as they are while they hardly change: colours that flicker tell nothing.
  steady(picture) {
    for (const layer of picture?.layers ?? []) {
      const before = this.limits[layer.name];
      const range = layer.high - layer.low;
      const near = (end) => Math.abs(before[end] - layer[end]) < STEADY * range;
      if (before && before.map === layer.map && near("low") && near("high")) Object.assign(layer, before);
      this.limits[layer.name] = { low: layer.low, high: layer.high, map: layer.map };
    }
    return picture;
  }

  // A screen on the wall, which nobody touches, stays on during a scan where the browser allows it.
  async stayAwake() {
    const wanted = this.isOn && !document.hidden && document.body.hasAttribute("data-read-only");
    if (wanted && !this.lock && navigator.wakeLock) {
      this.lock = await navigator.wakeLock.request("screen").catch(() => null);
      this.lock?.addEventListener("release", () => (this.lock = null));
    } else if (!wanted) this.lock?.release();
  }
}

// Fill a list where its lines have changed: screen readers read changes aloud.
function fill(root, lines, create) {
  const text = JSON.stringify(lines);
  if (root.dataset.lines === text) return;
  root.dataset.lines = text;
  root.replaceChildren(...lines.map(create));
  root.hidden = !lines.length;
}
