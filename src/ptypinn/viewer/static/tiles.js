// The picture of one run, drawn from tiles: the finest that have arrived, with the previous display until the new ones arrive.

import { pictureUrl } from "./api.js";

const MAX_TILES = 800;
const RETRY_MS = 3000;
const MAX_SMOOTH_SCALE = 2; // screen pixels per picture pixel; above, pixels are drawn as squares

export class TiledPicture {
  // `changed` is called when there is more to draw, `outdated` when the server has a newer picture.
  constructor(changed, outdated) {
    this.changed = changed;
    this.outdated = outdated;
    this.tiles = new Map(); // by URL, in the order of their last use
    this.displays = []; // URL prefix and query of the current display and of the previous one
    this.next = null;
  }

  // Set the position of the picture's pixel (0, 0) in the world, and its pixel size there.
  place(x, y, pixel) {
    this.position = { x, y, pixel };
  }

  show(run, display) {
    const { tile, levels, width, height } = run.picture;
    const query = new URLSearchParams({ low: display.low, high: display.high, map: display.map });
    if (display.weak) query.set("weak", "1");
    const place = this.position;
    const requested = { version: run.picture.version, place, base: `${pictureUrl(run)}/tiles/${display.layer}`, query: `?${query}`, tile, levels, width, height };
    if (this.displays.length && isSame(this.displays[0], requested)) {
      this.next = null;
      this.displays[0].place = place;
    } else if (this.waiting > 0) this.next = requested; // one at a time: dragging a limit does not queue requests
    else this.adopt(requested);
  }

  adopt(display) {
    this.next = null;
    this.displays = [display, ...this.displays.slice(0, 1)];
    this.changed();
  }

  get version() {
    return this.displays[0]?.version;
  }

  // The previous display stays below the current one until all tiles in sight have arrived.
  draw(context, camera, ratio) {
    const [display, before] = this.displays;
    this.waiting = 0;
    if (!display) return;
    const visible = tilesInSight(display, camera, ratio);
    for (const [row, column] of visible.places) {
      if (!this.fetch(display, visible.level, row, column).done) this.waiting += 1;
    }
    if (before && this.waiting) this.drawTiles(context, camera, ratio, before, tilesInSight(before, camera, ratio), before.levels);
    this.drawTiles(context, camera, ratio, display, visible, before ? 1 : display.levels);
    if (!this.waiting) this.displays.length = 1;
    if (!this.waiting && this.next) this.adopt(this.next);
    this.evict();
  }

  drawTiles(context, camera, ratio, display, { level, places }, levels) {
    context.imageSmoothingEnabled = camera.scale * display.place.pixel * 2 ** level * ratio < MAX_SMOOTH_SCALE;
    for (const [row, column] of places) this.drawTile(context, camera, display, level, row, column, levels);
  }

  drawTile(context, camera, display, level, row, column, levels) {
    const available = this.finestAvailable(display, level, row, column, levels);
    if (!available) return;
    const { image, up } = available;
    const { tile: side, place } = display;
    const part = side / 2 ** up;
    const sx = (column % 2 ** up) * part;
    const sy = (row % 2 ** up) * part;
    const sw = Math.min(part, image.naturalWidth - sx);
    const sh = Math.min(part, image.naturalHeight - sy);
    if (sw <= 0 || sh <= 0) return;
    const step = side * 2 ** level * place.pixel;
    const size = 2 ** level * place.pixel * camera.scale;
    const corner = camera.toScreen(place.x + column * step, place.y + row * step);
    const right = Math.round(corner.x + sw * 2 ** up * size);
    const bottom = Math.round(corner.y + sh * 2 ** up * size);
    const x = Math.round(corner.x);
    const y = Math.round(corner.y);
    context.drawImage(image, sx, sy, sw, sh, x, y, Math.max(1, right - x), Math.max(1, bottom - y));
  }

  // The tile itself, or the part of a coarser one, so many levels up at most.
  finestAvailable(display, level, row, column, levels) {
    for (let up = 0; up < levels && level + up < display.levels; up++) {
      const tile = this.tiles.get(tileUrl(display, level + up, row >> up, column >> up));
      if (tile?.done && tile.image.naturalWidth) return { image: tile.image, up };
    }
    return null;
  }

  fetch(display, level, row, column) {
    const url = tileUrl(display, level, row, column);
    let tile = this.tiles.get(url);
    if (tile) this.tiles.delete(url);
    else {
      tile = { image: new Image(), done: false };
      tile.image.onload = () => {
        tile.done = true;
        this.changed();
      };
      tile.image.onerror = () => {
        tile.done = true; // counts as arrived, so that the next display can follow; requested again later
        setTimeout(() => this.tiles.delete(url), RETRY_MS);
        this.outdated();
        this.changed();
      };
      tile.image.src = url;
    }
    this.tiles.set(url, tile);
    return tile;
  }

  evict() {
    for (const url of this.tiles.keys()) {
      if (this.tiles.size <= MAX_TILES) break;
      this.tiles.delete(url);
    }
  }
}

const tileUrl = (display, level, row, column) => `${display.base}/${level}/${row}/${column}.png${display.query}`;

// The level that fits the screen, and the rows and columns of its tiles in sight.
function tilesInSight(display, camera, ratio) {
  const { place, tile, levels, width, height } = display;
  const level = Math.min(levels - 1, Math.max(0, Math.floor(Math.log2(1 / (camera.scale * place.pixel * ratio)) + 0.01)));
  const side = tile * 2 ** level;
  const from = camera.toWorld(0, 0);
  const to = camera.toWorld(camera.width, camera.height);
  const span = (low, high, offset, length) => {
    const first = Math.floor((low - offset) / place.pixel / side);
    const last = Math.floor((high - offset) / place.pixel / side);
    return [Math.max(0, first), Math.min(Math.ceil(length / side) - 1, last)];
  };
  const [top, bottom] = span(from.y, to.y, place.y, height);
  const [left, right] = span(from.x, to.x, place.x, width);
  const places = [];
  for (let row = top; row <= bottom; row++) for (let column = left; column <= right; column++) places.push([row, column]);
  return { level, places };
}

const isSame = (a, b) => a.base === b.base && a.query === b.query;
