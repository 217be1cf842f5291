// Complex values of single pixels, fetched in blocks that stay at hand.

import { ask, pictureOf } from "./api.js";

const MOST_BLOCKS = 64;

export class Values {
  constructor(changed) {
    this.changed = changed;
    this.blocks = new Map();
  }

  // Amplitude and phase (radians, relative to the mean phase) at a pixel; null while they are on their way.
  at(run, x, y) {
    const { width, height, block, phase_rad: mean } = run.picture;
    if (!(x >= 0 && y >= 0 && x < width && y < height)) return null;
    const [row, column] = [Math.floor(y / block), Math.floor(x / block)];
    const values = this.block(`${pictureOf(run)}/blocks/${row}/${column}`);
    if (!values) return null;
    const across = Math.min(block, width - column * block);
    const place = 2 * ((Math.floor(y) - row * block) * across + Math.floor(x) - column * block);
    const [re, im] = [values[place], values[place + 1]];
    const phase = Math.atan2(im, re) - mean;
    return { amplitude: Math.hypot(re, im), phase: phase - 2 * Math.PI * Math.round(phase / (2 * Math.PI)) };
  }

  block(where) {
    if (this.blocks.has(where)) return this.blocks.get(where);
    this.blocks.set(where, null);
    ask(where)
      .then((answer) => answer.arrayBuffer())
      .then((bytes) => {
        this.blocks.set(where, new Float32Array(bytes));
        this.changed();
      })
      .catch(() => this.blocks.delete(where));
    if (this.blocks.size > MOST_BLOCKS) this.blocks.delete(this.blocks.keys().next().value);
    return null;
  }
}
