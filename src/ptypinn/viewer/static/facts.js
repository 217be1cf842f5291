// What is stated about a scan: headline, mean pattern, probe, map of the positions, warnings, and the whole table.

import { fetchJson } from "./api.js";
import { element } from "./elements.js";
import { metres } from "./units.js";

const STATES = { waiting: "Waiting for another scan to be read …", reading: "Reading the scan …" };
const TITLES = { mean_pattern: "mean pattern, logarithmic", probe: "probe, phase as hue" };
const COLOURS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]]; // viridis

export class Facts {
  // `root` is the section; parts are marked by data-facts.
  constructor(root, id) {
    this.id = id;
    this.find = (name) => root.querySelector(`[data-facts=${name}]`);
    this.values = {};
    this.find("all").open = matchMedia("(min-width: 52rem)").matches;
    new ResizeObserver(() => this.draw()).observe(this.find("map"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  // Look with other options of reading; true if they differ from those before.
  setValues(values) {
    const changed = JSON.stringify(values) !== JSON.stringify(this.values);
    this.values = values;
    return changed;
  }

  async refresh() {
    const query = Object.keys(this.values).length ? `?${new URLSearchParams({ values: JSON.stringify(this.values) })}` : "";
    const facts = await fetchJson(`/api/scans/${this.id}/facts${query}`);
    this.find("state").textContent = STATES[facts.state] ?? "";
    this.find("busy").hidden = !(facts.state in STATES);
    this.find("error").textContent = facts.error;
    this.find("error").hidden = !facts.error;
    this.find("content").hidden = facts.state !== "done";
    if (facts.state === "done") this.show(facts);
  }

  show(facts) {
    const text = JSON.stringify(facts);
    if (text === this.shown) return;
    this.shown = text;
    this.positions = facts.positions;
    const pairs = (rows) => rows.map(([label, value]) => element("div", [element("dt", label), element("dd", value)]));
    this.find("headline").replaceChildren(...pairs(facts.headline));
    this.find("pictures").replaceChildren(...facts.pictures.map((name) => element("figure", [
      element("img", "", { src: `${facts.base}/${name}.png${facts.query}`, alt: TITLES[name] }),
      element("figcaption", TITLES[name]),
    ])));
    const missing = facts.missing.map(({ name, option, needed_for: use }) => `${name.replaceAll("_", " ")} is missing: ${option} gives ${use}`);
    this.find("warnings").replaceChildren(...[...facts.warnings, ...missing].map((line) => element("li", line)));
    this.find("healthy").hidden = Boolean(facts.warnings.length + missing.length);
    this.find("table").replaceChildren(...Object.entries(facts.table).map(([title, rows]) =>
      element("section", [element("h3", title), element("dl", pairs(rows), { className: "table" })])));
    this.draw();
  }

  // Draw the centres of the probe, coloured by the photons of their patterns, in the order of the axes of the object.
  draw() {
    if (!this.positions) return;
    const canvas = this.find("map");
    const { centres_px: centres, photons, count, probe_diameter_px: diameter, pixel_size_m: pixel } = this.positions;
    const ratio = devicePixelRatio || 1;
    const size = canvas.clientWidth;
    if (size < 48) return; // not on the page yet
    const lowest = matchMedia("(prefers-color-scheme: dark)").matches ? 0.3 : 0; // the darkest colours are for light pages
    canvas.width = canvas.height = Math.round(size * ratio);
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    const [low, high] = [0, 1].map((axis) => range(centres.map((centre) => centre[axis]))).reduce(
      ([lows, highs], [a, b]) => [[...lows, a], [...highs, b]], [[], []]);
    const margin = (diameter ?? 0) / 2;
    const scale = (size - 24) / Math.max(high[0] - low[0] + 2 * margin, high[1] - low[1] + 2 * margin, 1);
    const place = ([y, x]) => [size / 2 + (x - (low[1] + high[1]) / 2) * scale, size / 2 + (y - (low[0] + high[0]) / 2) * scale];
    const [dim, bright] = range(photons);
    const radius = Math.max(1.2, Math.min(4, size / 3 / Math.sqrt(count)));
    centres.forEach((centre, k) => {
      context.fillStyle = colour(lowest + (1 - lowest) * (bright > dim ? (photons[k] - dim) / (bright - dim) : 1));
      context.beginPath();
      context.arc(...place(centre), radius, 0, 7);
      context.fill();
    });
    if (diameter) {
      context.strokeStyle = getComputedStyle(canvas).getPropertyValue("--second").trim();
      context.lineWidth = 1.5;
      context.beginPath();
      context.arc(...place(centres[0]), (diameter / 2) * scale, 0, 7);
      context.stroke();
    }
    const length = (px) => (pixel ? metres(px * pixel) : `${Math.round(px)} px`);
    const drawn = centres.length < count ? `${centres.length} of ${count} positions` : `${count} positions`;
    const circle = diameter ? `; circle: probe at the first, ${length(diameter)} wide` : "";
    this.find("map-text").textContent = `${drawn} over ${length(high[0] - low[0])} x ${length(high[1] - low[1])}, coloured by dose${circle}`;
  }
}

function range(values) {
  return values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
}

function colour(fraction) {
  const at = Math.min(COLOURS.length - 1.001, Math.max(0, fraction * (COLOURS.length - 1)));
  const [first, rest] = [Math.floor(at), at % 1];
  const mixed = COLOURS[first].map((value, k) => Math.round(value + (COLOURS[first + 1][k] - value) * rest));
  return `rgb(${mixed})`;
}
