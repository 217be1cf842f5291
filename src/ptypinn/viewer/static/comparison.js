// Two runs compared: the second in the phase of the first, and the difference of both.

import { askJson, pictureOf } from "./api.js";
import { rounded } from "./units.js";

export class Comparison {
  constructor(words) {
    this.words = words;
    this.clear();
  }

  clear() {
    this.where = "";
    this.pair = null;
    this.words.hidden = true;
  }

  // Layers that there are only of two runs.
  get layers() {
    return this.pair?.difference.layers ?? [];
  }

  get difference() {
    return { id: "difference", name: "difference", picture: this.pair.difference };
  }

  isOf(layer) {
    return this.layers.some(({ name }) => name === layer);
  }

  // The runs as they are shown beside each other; null where one of them has a newer picture.
  async of(runs) {
    const [first, second] = runs;
    if (!first.picture || !second?.picture) {
      this.clear();
      return runs.filter((run) => run.picture);
    }
    const where = `${pictureOf(first)}/with/${second.id}/${second.picture.version}`;
    if (where !== this.where) {
      this.where = where;
      this.words.hidden = false;
      this.words.classList.remove("warn");
      this.words.textContent = "Comparing …";
      const found = await askJson(where).catch((error) => (error.status === 410 ? null : { refused: error.message }));
      if (where !== this.where || !found) {
        if (!found) this.where = "";
        return null;
      }
      this.pair = found.refused ? null : found;
      this.tell(found);
    }
    return [first, this.pair ? { ...second, picture: this.pair.turned } : second];
  }

  tell({ refused, phase_rad: phase, ramp_rad_per_px: ramp }) {
    this.words.hidden = false;
    this.words.classList.toggle("warn", Boolean(refused));
    if (refused) {
      this.words.textContent = `Beside each other, but not subtracted: ${refused}.`;
      return;
    }
    const [y, x] = ramp.map((slope) => rounded(slope, 2));
    const taken = `${rounded(phase, 3)} rad, and ${y} (down) and ${x} (across) rad per pixel, were added to the second`;
    this.words.textContent =
      `A phase factor and a phase ramp, which patterns leave open, are taken out by least squares: ${taken}. ` +
      "Amplitudes are as they are.";
  }
}
