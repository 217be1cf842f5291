// One run's picture, drawn from tiles: the sharpest that have come, of the look before where the new one has not.

import { pictureOf } from "./api.js";

const MOST_TILES = 800;
const RETRY = 3000; // milliseconds
const SMOOTH_UP_TO = 2; // screen pixels per picture pixel; beyond, pixels are seen as squares

export class TiledPicture {
  // `changed` is called when there is more to draw, `outdated` when the server has a newer picture.
  constructor(changed, outdated) {
    this.changed = changed;
    this.outdated = outdated;
    this.tiles = new Map(); // by address, in the order of their last use
    this.looks = []; // address prefix and query of the look, newest first, and of the one before
    this.next = null;
  }

  // Place of the picture's pixel (0, 0) in the world, and the size of its pixels there.
  place(x, y, pixel) {
    this.at = { x, y, pixel };
  }

  show(run, look) {
    const { tile, levels, width, height } = run.picture;
    const query = new URLSearchParams({ low: look.low, high: look.high, map: look.map });
    if (look.dim) query.set("dim", "1");
    const wanted = { base: `${pictureOf(run)}/tiles/${look.layer}`, query: `?${query}`, tile, levels, width, height };
    if (this.looks.length && same(this.looks[0], wanted)) this.next = null;
    else if (this.waiting > 0) this.next = wanted; // one after the other, so that a dragged limit piles up no requests
    else this.adopt(wanted);
  }

  adopt(look) {
    this.next = null;
    const fits = (old) => old.width === look.width && old.height === look.height;
    this.looks = [look, ...this.looks.slice(0, 1).filter(fits)];
    this.changed();
  }

  draw(context, camera, ratio) {
    this.waiting = 0;
    const look = this.looks[0];
    if (!look) return;
    const scale = camera.scale * this.at.pixel;
    const level = Math.min(look.levels - 1, Math.max(0, Math.floor(Math.log2(1 / (scale * ratio)) + 0.01)));
    const side = look.tile * 2 ** level;
    const from = camera.toWorld(0, 0);
    const to = camera.toWorld(camera.width, camera.height);
    const span = (low, high, offset, length) => {
      const first = Math.floor((low - offset) / this.at.pixel / side);
      const last = Math.floor((high - offset) / this.at.pixel / side);
      return [Math.max(0, first), Math.min(Math.ceil(length / side) - 1, last)];
    };
    const [top, bottom] = span(from.y, to.y, this.at.y, look.height);
    const [left, right] = span(from.x, to.x, this.at.x, look.width);
    context.imageSmoothingEnabled = scale * 2 ** level * ratio < SMOOTH_UP_TO;
    for (let row = top; row <= bottom; row++) {
      for (let column = left; column <= right; column++) this.drawTile(context, camera, level, row, column);
    }
    if (!this.waiting && this.next) this.adopt(this.next);
    this.forget();
  }

  drawTile(context, camera, level, row, column) {
    const wanted = this.fetch(this.looks[0], level, row, column);
    if (!wanted.done) this.waiting += 1;
    const found = this.best(level, row, column);
    if (!found) return;
    const { image, up } = found;
    const side = this.looks[0].tile;
    const part = side / 2 ** up;
    const sx = (column % 2 ** up) * part;
    const sy = (row % 2 ** up) * part;
    const sw = Math.min(part, image.naturalWidth - sx);
    const sh = Math.min(part, image.naturalHeight - sy);
    if (sw <= 0 || sh <= 0) return;
    const size = 2 ** level * this.at.pixel * camera.scale;
    const corner = camera.toScreen(
      this.at.x + column * side * 2 ** level * this.at.pixel, this.at.y + row * side * 2 ** level * this.at.pixel);
    const right = Math.round(corner.x + sw * 2 ** up * size);
    const bottom = Math.round(corner.y + sh * 2 ** up * size);
    const x = Math.round(corner.x);
    const y = Math.round(corner.y);
    context.drawImage(image, sx, sy, sw, sh, x, y, Math.max(1, right - x), Math.max(1, bottom - y));
  }

  // The tile itself, or the part of a coarser one; of the look before where the new one has nothing yet.
  best(level, row, column) {
    for (const look of this.looks) {
      for (let up = 0; level + up < look.levels; up++) {
        const tile = this.tiles.get(address(look, level + up, row >> up, column >> up));
        if (tile?.done && tile.image.naturalWidth) return { image: tile.image, up };
      }
    }
    return null;
  }

  fetch(look, level, row, column) {
    const where = address(look, level, row, column);
    let tile = this.tiles.get(where);
    if (tile) this.tiles.delete(where);
    else {
      tile = { image: new Image(), done: false };
      tile.image.onload = () => {
        tile.done = true;
        this.changed();
      };
      tile.image.onerror = () => {
        tile.done = true; // counts as arrived, so that the next look is not held up; asked for again a little later
        setTimeout(() => this.tiles.delete(where), RETRY);
        this.outdated();
        this.changed();
      };
      tile.image.src = where;
    }
    this.tiles.set(where, tile);
    return tile;
  }

  forget() {
    for (const where of this.tiles.keys()) {
      if (this.tiles.size <= MOST_TILES) break;
      this.tiles.delete(where);
    }
  }
}

const address = (look, level, row, column) => `${look.base}/${level}/${row}/${column}.png${look.query}`;

const same = (one, other) => one.base === other.base && one.query === other.query;
