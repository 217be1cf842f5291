// Profiles along a line on the object, of one run or of two.

import { fetchJson, pictureUrl } from "./api.js";
import { drawChart } from "./chart.js";
import { axisUnit, metres, rounded } from "./units.js";

export class Profile {
  constructor(root, changed) {
    this.root = root;
    this.changed = changed; // called when the marker on the line has moved
    this.canvases = [...root.querySelectorAll("canvas")];
    this.description = root.querySelector("output");
    this.line = null; // two world points
    this.marker = null; // distance of the marker from the first, world pixels
    this.profiles = [];
    for (const canvas of this.canvases) {
      new ResizeObserver(() => this.draw()).observe(canvas);
      canvas.addEventListener("pointermove", (event) => this.mark(event));
      canvas.addEventListener("pointerleave", () => this.mark(null));
    }
  }

  clear() {
    this.line = null;
    this.profiles = [];
    this.root.hidden = true;
    this.changed();
  }

  // `sides` are { run, place } with `place` the placement of a picture in the world; `layer` is the visible layer.
  async show(line, sides, layer) {
    this.line = line;
    this.layer = layer;
    this.sides = sides;
    this.changed();
    if (!line || !sides.length) return;
    const requestId = (this.requestId = {});
    const request = ({ run, place }) => {
      const local = line.map(({ x, y }) => ({ x: (x - place.x) / place.pixel, y: (y - place.y) / place.pixel }));
      const ends = { y0: local[0].y, x0: local[0].x, y1: local[1].y, x1: local[1].x };
      return fetchJson(`${pictureUrl(run)}/profile?${new URLSearchParams(ends)}`);
    };
    const profiles = await Promise.all(sides.map(request)).catch(() => null);
    if (requestId !== this.requestId || !profiles) return;
    this.profiles = profiles;
    this.root.hidden = false;
    this.draw();
  }

  draw() {
    if (!this.profiles.length || this.root.hidden) return;
    const pixel = this.sides[0].run.picture.pixel_size_m;
    const length = Math.hypot(this.line[1].x - this.line[0].x, this.line[1].y - this.line[0].y);
    const { factor, unit } = axisUnit(length, pixel);
    this.factor = factor;
    const values = [];
    for (const canvas of this.canvases) {
      const name = canvas.dataset.quantity;
      canvas.hidden = this.layer !== "complex" && name !== (this.layer.startsWith("phase") ? "phase" : "amplitude");
      if (canvas.hidden) continue;
      const cursor = this.marker === null ? null : this.marker * factor;
      const label = `${name === "phase" ? "phase, rad" : "amplitude"} over distance, ${unit}`;
      this.chart = drawChart(canvas, this.lines(name, factor), { xLabel: label, cursor }) ?? this.chart;
      if (this.marker !== null) values.push(`${name} ${this.values(name)}${name === "phase" ? " rad" : ""}`);
    }
    const lengthText = pixel ? metres(length * pixel) : `${rounded(length, 4)} px`;
    const position = this.marker === null ? [] : [`at ${rounded(this.marker * factor, 3)} ${unit}`];
    const second = this.sides.length > 1 ? [`dashed: ${this.sides[1].run.name}`] : [];
    this.description.textContent = [`length ${lengthText}`, ...second, ...position, ...values].join(", ");
  }

  lines(name, factor) {
    return this.profiles.map((profile, side) => ({
      x: profile.distance_px.map((distance) => distance * this.sides[side].place.pixel * factor),
      y: profile[name],
      colour: side ? "--second" : "--accent",
      dashed: side > 0,
    }));
  }

  values(name) {
    return this.profiles
      .map((profile, side) => {
        const along = profile.distance_px.map((distance) => distance * this.sides[side].place.pixel);
        const nearest = along.findIndex((distance) => distance >= this.marker);
        return rounded(profile[name][nearest] ?? NaN, 4);
      })
      .join(" | ");
  }

  mark(event) {
    this.marker = event && this.chart ? this.chart.xAt(event.offsetX) / this.factor : null;
    this.draw();
    this.changed();
  }

  // The marker in the world.
  markerPoint() {
    if (!this.line || this.marker === null) return null;
    const [from, to] = this.line;
    const fraction = this.marker / Math.hypot(to.x - from.x, to.y - from.y);
    if (!(fraction >= 0 && fraction <= 1)) return null;
    return { x: from.x + fraction * (to.x - from.x), y: from.y + fraction * (to.y - from.y) };
  }
}
