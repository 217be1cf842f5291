// Colour limits: a histogram with two handles, two numbers, a colour map, and a way back to the usual.

import { askJson, pictureOf } from "./api.js";
import { rounded } from "./units.js";

export class Limits {
  // `changed` is called with { low, high, map } when the user has chosen other ones.
  constructor(root, changed) {
    this.changed = changed;
    const find = (name) => root.querySelector(`[data-limits=${name}]`);
    this.canvas = find("histogram");
    this.handles = { low: find("low-handle"), high: find("high-handle") };
    this.inputs = { low: find("low"), high: find("high") };
    this.map = find("map");
    this.strip = find("strip");
    this.legend = find("legend");
    this.brightest = find("brightest");
    this.ends = { low: find("from"), high: find("to") };
    this.chosen = {}; // by layer: what the user has set
    for (const end of ["low", "high"]) {
      this.handles[end].addEventListener("pointerdown", (event) => this.drag(event, end));
      this.handles[end].addEventListener("keydown", (event) => this.nudge(event, end));
      this.inputs[end].addEventListener("change", () => this.set({ [end]: Number(this.inputs[end].value) }));
    }
    this.map.addEventListener("change", () => this.set({ map: this.map.value }));
    find("auto").addEventListener("click", () => {
      delete this.chosen[this.layer.name];
      this.present();
      this.changed(this.look());
    });
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  // Show the limits of a layer of a run.
  async show(run, layer) {
    this.layer = layer;
    this.map.replaceChildren(...run.picture.maps.map((name) => new Option(name, name)));
    this.map.disabled = layer.name === "complex";
    this.inputs.low.disabled = layer.name === "complex";
    this.handles.low.hidden = layer.name === "complex";
    this.present();
    const where = `${pictureOf(run)}/histogram/${layer.name}`;
    if (where === this.where) return;
    this.where = where;
    try {
      const found = await askJson(where);
      if (this.where === where) this.histogram = found;
    } catch {
      this.where = ""; // the run has changed; a newer histogram is on its way
    }
    this.draw();
  }

  look() {
    const { low, high, map } = { ...this.layer, ...this.chosen[this.layer.name] };
    return { low, high, map };
  }

  set(change) {
    const look = { ...this.look(), ...change };
    if (Number.isFinite(look.low) && Number.isFinite(look.high) && look.low < look.high) {
      this.chosen[this.layer.name] = { ...this.chosen[this.layer.name], ...change };
      this.changed(this.look());
    }
    this.present();
  }

  present() {
    const look = this.look();
    for (const end of ["low", "high"]) {
      this.inputs[end].value = rounded(look[end]);
      this.ends[end].textContent = `${rounded(look[end], 3)} ${this.layer.unit}`.trim();
      const { low, high } = this.range();
      const limits = { "aria-valuemin": low, "aria-valuemax": high, "aria-valuenow": look[end] };
      for (const [name, value] of Object.entries(limits)) this.handles[end].setAttribute(name, value);
      this.handles[end].setAttribute("aria-valuetext", `${rounded(look[end])} ${this.layer.unit}`.trim());
    }
    const complex = this.layer.name === "complex";
    this.map.value = look.map;
    this.strip.src = `/api/maps/${complex ? "complex" : look.map}.png`;
    this.strip.classList.toggle("wheel", complex);
    if (complex) [this.ends.low.textContent, this.ends.high.textContent] = ["−π rad", "π rad"];
    this.legend.hidden = !complex;
    this.brightest.textContent = rounded(look.high, 3);
    this.draw();
  }

  range() {
    const look = this.look();
    const { low, high } = this.histogram ?? look;
    return { low: Math.min(low, look.low), high: Math.max(high, look.high) };
  }

  draw() {
    if (!this.layer || !this.canvas.clientWidth) return;
    const ratio = devicePixelRatio || 1;
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    const context = this.canvas.getContext("2d");
    context.scale(ratio, ratio);
    const range = this.range();
    const across = (value) => ((value - range.low) / (range.high - range.low)) * width;
    const look = this.look();
    const style = getComputedStyle(this.canvas);
    if (this.histogram) {
      const { low, high, counts } = this.histogram;
      const most = Math.max(1, ...counts);
      counts.forEach((count, k) => {
        const from = low + (k / counts.length) * (high - low);
        const to = low + ((k + 1) / counts.length) * (high - low);
        const inside = to > look.low && from < look.high;
        context.fillStyle = style.getPropertyValue(inside ? "--accent" : "--line");
        const tall = Math.sqrt(count / most) * (height - 2);
        context.fillRect(across(from), height - tall, Math.max(1, across(to) - across(from) - 0.5), tall);
      });
    }
    for (const end of ["low", "high"]) this.handles[end].style.left = `${across(look[end])}px`;
  }

  drag(event, end) {
    event.preventDefault();
    const handle = this.handles[end];
    handle.focus();
    handle.setPointerCapture(event.pointerId);
    const range = this.range(); // held, so that the histogram does not run away under the pointer
    const box = this.canvas.getBoundingClientRect();
    const move = (moved) => {
      const share = Math.min(1, Math.max(0, (moved.clientX - box.left) / box.width));
      this.set({ [end]: range.low + share * (range.high - range.low) });
    };
    handle.addEventListener("pointermove", move);
    const stop = () => handle.removeEventListener("pointermove", move);
    handle.addEventListener("lostpointercapture", stop, { once: true });
  }

  nudge(event, end) {
    const direction = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
    if (!direction) return;
    event.preventDefault();
    const range = this.range();
    this.set({ [end]: this.look()[end] + direction * (range.high - range.low) * (event.shiftKey ? 0.1 : 0.01) });
  }
}
