// The profile along a line that is drawn on the object, of one run or of two.

import { askJson, pictureOf } from "./api.js";
import { drawChart } from "./chart.js";
import { axisUnit, metres, rounded } from "./units.js";

export class Profile {
  constructor(root, changed) {
    this.root = root;
    this.changed = changed; // called when the marked place on the line has moved
    this.canvases = [...root.querySelectorAll("canvas")];
    this.words = root.querySelector("output");
    this.line = null; // two world points
    this.marked = null; // distance from the first, world pixels
    this.found = [];
    for (const canvas of this.canvases) {
      new ResizeObserver(() => this.draw()).observe(canvas);
      canvas.addEventListener("pointermove", (event) => this.mark(event));
      canvas.addEventListener("pointerleave", () => this.mark(null));
    }
  }

  clear() {
    this.line = null;
    this.found = [];
    this.root.hidden = true;
    this.changed();
  }

  // `sides` are { run, at } with `at` the place of a picture in the world; `layer` is the layer on show.
  async show(line, sides, layer) {
    this.line = line;
    this.layer = layer;
    this.sides = sides;
    this.changed();
    if (!line || !sides.length) return;
    const ticket = (this.ticket = {});
    const ask = ({ run, at }) => {
      const local = line.map(({ x, y }) => ({ x: (x - at.x) / at.pixel, y: (y - at.y) / at.pixel }));
      const ends = { y0: local[0].y, x0: local[0].x, y1: local[1].y, x1: local[1].x };
      return askJson(`${pictureOf(run)}/profile?${new URLSearchParams(ends)}`);
    };
    const found = await Promise.all(sides.map(ask)).catch(() => null);
    if (ticket !== this.ticket || !found) return;
    this.found = found;
    this.root.hidden = false;
    this.draw();
  }

  draw() {
    if (!this.found.length || this.root.hidden) return;
    const pixel = this.sides[0].run.picture.pixel_size_m;
    const length = Math.hypot(this.line[1].x - this.line[0].x, this.line[1].y - this.line[0].y);
    const { factor, unit } = axisUnit(length, pixel);
    this.factor = factor;
    const told = [];
    for (const canvas of this.canvases) {
      const name = canvas.dataset.quantity;
      canvas.hidden = this.layer !== "complex" && name !== (this.layer.startsWith("phase") ? "phase" : "amplitude");
      if (canvas.hidden) continue;
      const cursor = this.marked === null ? null : this.marked * factor;
      const label = `${name === "phase" ? "phase, rad" : "amplitude"} over distance, ${unit}`;
      this.chart = drawChart(canvas, this.lines(name, factor), { xLabel: label, cursor }) ?? this.chart;
      if (this.marked !== null) told.push(`${name} ${this.values(name)}${name === "phase" ? " rad" : ""}`);
    }
    const whole = pixel ? metres(length * pixel) : `${rounded(length, 4)} px`;
    const here = this.marked === null ? [] : [`at ${rounded(this.marked * factor, 3)} ${unit}`];
    const second = this.sides.length > 1 ? [`dashed: ${this.sides[1].run.name}`] : [];
    this.words.textContent = [`${whole} long`, ...second, ...here, ...told].join(", ");
  }

  lines(name, factor) {
    return this.found.map((profile, side) => ({
      x: profile.distance_px.map((distance) => distance * this.sides[side].at.pixel * factor),
      y: profile[name],
      colour: side ? "--second" : "--accent",
      dashed: side > 0,
    }));
  }

  values(name) {
    return this.found
      .map((profile, side) => {
        const along = profile.distance_px.map((distance) => distance * this.sides[side].at.pixel);
        const nearest = along.findIndex((distance) => distance >= this.marked);
        return rounded(profile[name][nearest] ?? NaN, 4);
      })
      .join(" | ");
  }

  mark(event) {
    this.marked = event && this.chart ? this.chart.xAt(event.offsetX) / this.factor : null;
    this.draw();
    this.changed();
  }

  // The marked place in the world.
  markedPoint() {
    if (!this.line || this.marked === null) return null;
    const [from, to] = this.line;
    const share = this.marked / Math.hypot(to.x - from.x, to.y - from.y);
    if (!(share >= 0 && share <= 1)) return null;
    return { x: from.x + share * (to.x - from.x), y: from.y + share * (to.y - from.y) };
  }
}
