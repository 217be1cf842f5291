// Complex values of single pixels, requested in blocks and cached.

import { fetchChecked, pictureUrl } from "./api.js";

const MAX_BLOCKS = 64;

export class Values {
  constructor(changed) {
    this.changed = changed;
    this.blocks = new Map();
  }

  // Amplitude and phase (radians, relative to the mean phase) at a pixel; null until they arrive.
  at(run, x, y) {
    const { width, height, block, phase_rad: mean } = run.picture;
    if (!(x >= 0 && y >= 0 && x < width && y < height)) return null;
    const [row, column] = [Math.floor(y / block), Math.floor(x / block)];
    const values = this.block(`${pictureUrl(run)}/blocks/${row}/${column}`);
    if (!values) return null;
    const blockWidth = Math.min(block, width - column * block);
    const index = 2 * ((Math.floor(y) - row * block) * blockWidth + Math.floor(x) - column * block);
    const [re, im] = [values[index], values[index + 1]];
    const phase = Math.atan2(im, re) - mean;
    return { amplitude: Math.hypot(re, im), phase: phase - 2 * Math.PI * Math.round(phase / (2 * Math.PI)) };
  }

  block(url) {
    if (this.blocks.has(url)) return this.blocks.get(url);
    this.blocks.set(url, null);
    fetchChecked(url)
      .then((response) => response.arrayBuffer())
      .then((bytes) => {
        this.blocks.set(url, new Float32Array(bytes));
        this.changed();
      })
      .catch(() => this.blocks.delete(url));
    if (this.blocks.size > MAX_BLOCKS) this.blocks.delete(this.blocks.keys().next().value);
    return null;
  }
}
