// Positions of a scan, and the measured and predicted pattern of the one that is picked.

import { askJson, pictureOf } from "./api.js";
import { rounded } from "./units.js";

export class Patterns {
  constructor(root, changed) {
    this.root = root;
    this.changed = changed;
    this.words = root.querySelector("[data-pattern=words]");
    this.facts = root.querySelector("[data-pattern=facts]");
    this.images = root.querySelector("[data-pattern=images]");
    this.book = null;
    this.picked = null;
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
    for (const one of this.images.children) one.classList.toggle("larger", larger && one === figure);
  }

  async load(run) {
    const where = pictureOf(run);
    if (where === this.where) return;
    this.where = where;
    if (this.run?.id !== run.id) this.book = this.picked = null; // a run that has gone on keeps its picked position
    this.run = run;
    this.tell();
    try {
      const book = await askJson(`${where}/positions`);
      if (where !== this.where) return;
      this.book = book;
    } catch (error) {
      if (where !== this.where || error.status === 410) return; // there is a newer one: it is on its way
      this.trouble = error.message;
      this.book = null;
    }
    if (!(this.picked < this.book?.centres_px.length)) this.picked = null;
    if (this.picked === null) {
      this.tell();
      this.changed();
    } else this.pick(this.picked);
  }

  // Pick the position nearest to a point on the object.
  pickAt(x, y) {
    if (!this.book?.centres_px.length) return;
    const distance = ([cy, cx]) => (cy - y) ** 2 + (cx - x) ** 2;
    let nearest = 0;
    this.book.centres_px.forEach((centre, k) => {
      if (distance(centre) < distance(this.book.centres_px[nearest])) nearest = k;
    });
    const reach = this.book.size_px / 2;
    if (distance(this.book.centres_px[nearest]) <= reach ** 2) this.pick(nearest);
  }

  step(by) {
    const count = this.book?.centres_px.length;
    if (count) this.pick(((this.picked ?? (by > 0 ? -1 : 0)) + by + count) % count);
  }

  async pick(number) {
    this.picked = number;
    this.tell();
    this.changed();
    const where = `${this.where}/patterns/${number}`;
    const kinds = this.book.measured ? ["measured", "predicted", "difference"] : ["predicted"];
    for (const figure of this.images.children) {
      const shown = kinds.includes(figure.dataset.kind);
      figure.hidden = !shown;
      if (shown) figure.querySelector("img").src = `${where}/${figure.dataset.kind}.png`;
    }
    this.images.hidden = false;
    try {
      const found = await askJson(where);
      if (this.picked === number && where.startsWith(this.where)) this.present(found);
    } catch (error) {
      if (error.status !== 410) this.words.textContent = error.message;
    }
  }

  present(found) {
    const rows = [["Position", `y ${found.y_px.toFixed(1)}, x ${found.x_px.toFixed(1)} px`]];
    if (found.photons !== undefined) rows.push(["Photons measured", rounded(found.photons, 5)]);
    rows.push(["Photons predicted", rounded(found.photons_predicted, 5)]);
    if (found.residual !== undefined) {
      rows.push(["Amplitude residual", rounded(found.residual, 3)]);
      rows.push(["Residual of counting noise", rounded(found.expected_residual, 3)]);
    }
    this.facts.replaceChildren(...rows.map(([name, value]) => {
      const row = document.createElement("div");
      row.append(Object.assign(document.createElement("dt"), { textContent: name }));
      row.append(Object.assign(document.createElement("dd"), { textContent: value }));
      return row;
    }));
    const colours = `Colours are logarithmic, 0.3 to ${rounded(found.brightest, 3)} counts.`;
    this.words.textContent = `Pattern ${found.scan_index} of the scan. ${colours} ${this.notice()}`;
  }

  notice() {
    return this.book.measured ? "" : `No measured pattern: ${this.book.note}.`;
  }

  tell() {
    if (this.picked === null) {
      this.images.hidden = true;
      this.facts.replaceChildren();
    }
    const count = this.book?.centres_px.length ?? 0;
    for (const button of this.root.querySelectorAll(".between button")) button.disabled = !count;
    if (!this.book) this.words.textContent = this.trouble ?? "Looking for the scan …";
    else if (this.picked === null) {
      this.words.textContent = `${count} position${count === 1 ? "" : "s"}: click the object. ${this.notice()}`;
    }
  }
}
