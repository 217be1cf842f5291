// Comparison of two runs: the second in the phase of the first, and the difference of both.

import { fetchJson, pictureUrl } from "./api.js";
import { rounded } from "./units.js";

export class Comparison {
  constructor(note) {
    this.note = note;
    this.clear();
  }

  clear() {
    this.url = "";
    this.comparison = null;
    this.note.hidden = true;
  }

  // Layers that only a comparison has.
  get layers() {
    return this.comparison?.difference.layers ?? [];
  }

  get difference() {
    return { id: "difference", name: "difference", picture: this.comparison.difference };
  }

  hasLayer(layer) {
    return this.layers.some(({ name }) => name === layer);
  }

  // Return the runs with the pictures to show side by side; null where one of them has a newer picture.
  async align(runs) {
    const [first, second] = runs;
    if (!first.picture || !second?.picture) {
      this.clear();
      return runs.filter((run) => run.picture);
    }
    const url = `${pictureUrl(first)}/with/${second.id}/${second.picture.version}`;
    if (url !== this.url) {
      this.url = url;
      this.note.hidden = false;
      this.note.classList.remove("warn");
      this.note.textContent = "Comparing …";
      const result = await fetchJson(url).catch((error) => (error.status === 410 ? null : { refused: error.message }));
      if (url !== this.url || !result) {
        if (!result) this.url = "";
        return null;
      }
      this.comparison = result.refused ? null : result;
      this.describe(result);
    }
    return [first, this.comparison ? { ...second, picture: this.comparison.aligned } : second];
  }

  describe({ refused, phase_rad: phase, ramp_rad_per_px: ramp }) {
    this.note.hidden = false;
    this.note.classList.toggle("warn", Boolean(refused));
    if (refused) {
      this.note.textContent = `Shown side by side, but not subtracted: ${refused}.`;
      return;
    }
    const [y, x] = ramp.map((slope) => rounded(slope, 2));
    const correction = `${rounded(phase, 3)} rad, and ${y} (down) and ${x} (across) rad per pixel, were added to the second run`;
    this.note.textContent =
      `A phase factor and a phase ramp, which the patterns do not determine, were fitted by least squares: ${correction}. ` +
      "Amplitudes are unchanged.";
  }
}
