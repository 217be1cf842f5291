// Colour limits: a histogram with two handles, two numbers, a colour map, and a reset to the default.

import { fetchJson, pictureUrl } from "./api.js";
import { rounded } from "./units.js";

export class Limits {
  // `changed` is called with { low, high, map } when the user changes them.
  constructor(root, changed) {
    this.changed = changed;
    const find = (name) => root.querySelector(`[data-limits=${name}]`);
    this.canvas = find("histogram");
    this.handles = { low: find("low-handle"), high: find("high-handle") };
    this.inputs = { low: find("low"), high: find("high") };
    this.map = find("map");
    this.strip = find("strip");
    this.legend = find("legend");
    this.maxAmplitude = find("max-amplitude");
    this.ends = { low: find("from"), high: find("to") };
    this.custom = {}; // by layer: limits set by the user
    for (const end of ["low", "high"]) {
      this.handles[end].addEventListener("pointerdown", (event) => this.drag(event, end));
      this.handles[end].addEventListener("keydown", (event) => this.nudge(event, end));
      this.inputs[end].addEventListener("change", () => this.set({ [end]: Number(this.inputs[end].value) }));
    }
    this.map.addEventListener("change", () => this.set({ map: this.map.value }));
    find("default").addEventListener("click", () => {
      delete this.custom[this.layer.name];
      this.present();
      this.changed(this.display());
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
    const url = `${pictureUrl(run)}/histogram/${layer.name}`;
    if (url === this.url) return;
    this.url = url;
    try {
      const histogram = await fetchJson(url);
      if (this.url === url) this.histogram = histogram;
    } catch {
      this.url = ""; // the run has changed; the next update has a newer histogram
    }
    this.draw();
  }

  display() {
    const { low, high, map } = { ...this.layer, ...this.custom[this.layer.name] };
    return { low, high, map };
  }

  set(change) {
    const display = { ...this.display(), ...change };
    if (Number.isFinite(display.low) && Number.isFinite(display.high) && display.low < display.high) {
      this.custom[this.layer.name] = { ...this.custom[this.layer.name], ...change };
      this.changed(this.display());
    }
    this.present();
  }

  present() {
    const display = this.display();
    for (const end of ["low", "high"]) {
      this.inputs[end].value = rounded(display[end]);
      this.ends[end].textContent = `${rounded(display[end], 3)} ${this.layer.unit}`.trim();
      const { low, high } = this.range();
      const limits = { "aria-valuemin": low, "aria-valuemax": high, "aria-valuenow": display[end] };
      for (const [name, value] of Object.entries(limits)) this.handles[end].setAttribute(name, value);
      this.handles[end].setAttribute("aria-valuetext", `${rounded(display[end])} ${this.layer.unit}`.trim());
    }
    const complex = this.layer.name === "complex";
    this.map.value = display.map;
    this.strip.src = `/api/maps/${complex ? "complex" : display.map}.png`;
    this.strip.classList.toggle("wheel", complex);
    if (complex) [this.ends.low.textContent, this.ends.high.textContent] = ["−π rad", "π rad"];
    this.legend.hidden = !complex;
    this.maxAmplitude.textContent = rounded(display.high, 3);
    this.draw();
  }

  range() {
    const display = this.display();
    const { low, high } = this.histogram ?? display;
    return { low: Math.min(low, display.low), high: Math.max(high, display.high) };
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
    const toX = (value) => ((value - range.low) / (range.high - range.low)) * width;
    const display = this.display();
    const style = getComputedStyle(this.canvas);
    if (this.histogram) {
      const { low, high, counts } = this.histogram;
      const maxCount = Math.max(1, ...counts);
      counts.forEach((count, k) => {
        const from = low + (k / counts.length) * (high - low);
        const to = low + ((k + 1) / counts.length) * (high - low);
        const inside = to > display.low && from < display.high;
        context.fillStyle = style.getPropertyValue(inside ? "--accent" : "--line");
        const barHeight = Math.sqrt(count / maxCount) * (height - 2);
        context.fillRect(toX(from), height - barHeight, Math.max(1, toX(to) - toX(from) - 0.5), barHeight);
      });
    }
    for (const end of ["low", "high"]) this.handles[end].style.left = `${toX(display[end])}px`;
  }

  drag(event, end) {
    event.preventDefault();
    const handle = this.handles[end];
    handle.focus();
    handle.setPointerCapture(event.pointerId);
    const range = this.range(); // fixed during the drag: the histogram does not move under the pointer
    const box = this.canvas.getBoundingClientRect();
    const move = (moveEvent) => {
      const fraction = Math.min(1, Math.max(0, (moveEvent.clientX - box.left) / box.width));
      this.set({ [end]: range.low + fraction * (range.high - range.low) });
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
    this.set({ [end]: this.display()[end] + direction * (range.high - range.low) * (event.shiftKey ? 0.1 : 0.01) });
  }
}
