// Positions of a scan, and the measured and predicted pattern of the selected one.

import { fetchJson, pictureUrl } from "./api.js";
import { rounded } from "./units.js";

export class Patterns {
  constructor(root, changed) {
    this.root = root;
    this.changed = changed;
    this.description = root.querySelector("[data-pattern=description]");
    this.figures = root.querySelector("[data-pattern=figures]");
    this.images = root.querySelector("[data-pattern=images]");
    this.scan = null;
    this.selected = null;
    for (const figure of this.images.children) {
      figure.querySelector("button").addEventListener("click", () => this.enlarge(figure));
    }
    for (const [name, step] of [["previous", -1], ["next", 1]]) {
      root.querySelector(`[data-pattern=${name}]`).addEventListener("click", () => this.step(step));
    }
  }

  // A pattern grows when it is clicked, and shrinks when it is clicked again.
  enlarge(figure) {
    const larger = !figure.classList.contains("larger");
    for (const other of this.images.children) other.classList.toggle("larger", larger && other === figure);
  }

  async load(run) {
    const url = pictureUrl(run);
    if (url === this.url) return;
    this.url = url;
    if (this.run?.id !== run.id) this.scan = this.selected = null; // a newer picture of the same run keeps the selected position
    this.run = run;
    this.update();
    try {
      const scan = await fetchJson(`${url}/positions`);
      if (url !== this.url) return;
      this.scan = scan;
    } catch (error) {
      if (url !== this.url || error.status === 410) return; // the next update has a newer picture
      this.error = error.message;
      this.scan = null;
    }
    if (!(this.selected < this.scan?.centres_px.length)) this.selected = null;
    if (this.selected === null) {
      this.update();
      this.changed();
    } else this.select(this.selected);
  }

  // Select the position nearest to a point on the object.
  selectAt(x, y) {
    if (!this.scan?.centres_px.length) return;
    const distance = ([cy, cx]) => (cy - y) ** 2 + (cx - x) ** 2;
    let nearest = 0;
    this.scan.centres_px.forEach((centre, k) => {
      if (distance(centre) < distance(this.scan.centres_px[nearest])) nearest = k;
    });
    const reach = this.scan.size_px / 2;
    if (distance(this.scan.centres_px[nearest]) <= reach ** 2) this.select(nearest);
  }

  step(by) {
    const count = this.scan?.centres_px.length;
    if (count) this.select(((this.selected ?? (by > 0 ? -1 : 0)) + by + count) % count);
  }

  async select(number) {
    this.selected = number;
    this.update();
    this.changed();
    const url = `${this.url}/patterns/${number}`;
    const kinds = this.scan.measured ? ["measured", "predicted", "difference"] : ["predicted"];
    for (const figure of this.images.children) {
      const shown = kinds.includes(figure.dataset.kind);
      figure.hidden = !shown;
      if (shown) figure.querySelector("img").src = `${url}/${figure.dataset.kind}.png`;
    }
    this.images.hidden = false;
    try {
      const pattern = await fetchJson(url);
      if (this.selected === number && url.startsWith(this.url)) this.present(pattern);
    } catch (error) {
      if (error.status !== 410) this.description.textContent = error.message;
    }
  }

  present(pattern) {
    const rows = [["Position", `y ${pattern.y_px.toFixed(1)}, x ${pattern.x_px.toFixed(1)} px`]];
    if (pattern.photons !== undefined) rows.push(["Photons measured", rounded(pattern.photons, 5)]);
    rows.push(["Photons predicted", rounded(pattern.photons_predicted, 5)]);
    if (pattern.residual !== undefined) {
      rows.push(["Amplitude residual", rounded(pattern.residual, 3)]);
      rows.push(["Expected from counting noise", rounded(pattern.expected_residual, 3)]);
    }
    this.figures.replaceChildren(...rows.map(([name, value]) => {
      const row = document.createElement("div");
      row.append(Object.assign(document.createElement("dt"), { textContent: name }));
      row.append(Object.assign(document.createElement("dd"), { textContent: value }));
      return row;
    }));
    const colours = `Colours are logarithmic, 0.3 to ${rounded(pattern.max_counts, 3)} counts.`;
    this.description.textContent = `Pattern ${pattern.scan_index} of the scan. ${colours} ${this.notice()}`;
  }

  notice() {
    return this.scan.measured ? "" : `No measured pattern: ${this.scan.note}.`;
  }

  update() {
    if (this.selected === null) {
      this.images.hidden = true;
      this.figures.replaceChildren();
    }
    const count = this.scan?.centres_px.length ?? 0;
    for (const button of this.root.querySelectorAll(".between button")) button.disabled = !count;
    if (!this.scan) this.description.textContent = this.error ?? "Searching for the scan …";
    else if (this.selected === null) {
      this.description.textContent = `${count} position${count === 1 ? "" : "s"}: click the object. ${this.notice()}`;
    }
  }
}
