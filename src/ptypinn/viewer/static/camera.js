// Pan and zoom: world coordinates are object pixels, screen coordinates CSS pixels from the upper left corner.

const MAX_SCALE = 64; // screen pixels per object pixel

export class Camera {
  constructor() {
    this.x = 0; // world point at the centre of the view
    this.y = 0;
    this.scale = 1; // screen pixels per object pixel
    this.width = 1; // width of the view, CSS pixels
    this.height = 1;
    this.bounds = { x: 0, y: 0, width: 1, height: 1 }; // bounding box of the pictures
  }

  toWorld(sx, sy) {
    return { x: this.x + (sx - this.width / 2) / this.scale, y: this.y + (sy - this.height / 2) / this.scale };
  }

  toScreen(x, y) {
    return { x: (x - this.x) * this.scale + this.width / 2, y: (y - this.y) * this.scale + this.height / 2 };
  }

  pan(dx, dy) {
    this.x -= dx / this.scale;
    this.y -= dy / this.scale;
    this.clampCentre();
  }

  zoomAt(sx, sy, factor) {
    const before = this.toWorld(sx, sy);
    this.scale = Math.min(MAX_SCALE, Math.max(this.fitScale() / 2, this.scale * factor));
    const after = this.toWorld(sx, sy);
    this.x += before.x - after.x;
    this.y += before.y - after.y;
    this.clampCentre();
  }

  // Show the pictures as large as they fit; or smaller, by a factor that leaves them room to grow.
  fit(room = 1) {
    this.scale = this.fitScale() * room;
    this.x = this.bounds.x + this.bounds.width / 2;
    this.y = this.bounds.y + this.bounds.height / 2;
  }

  // True where the pictures are in the view as a whole.
  showsAll() {
    const { x, y, width, height } = this.bounds;
    const [from, to] = [this.toWorld(0, 0), this.toWorld(this.width, this.height)];
    return from.x <= x && from.y <= y && to.x >= x + width && to.y >= y + height;
  }

  fitScale() {
    return 0.97 * Math.min(this.width / this.bounds.width, this.height / this.bounds.height);
  }

  clampCentre() {
    const { x, y, width, height } = this.bounds;
    this.x = Math.min(x + width, Math.max(x, this.x));
    this.y = Math.min(y + height, Math.max(y, this.y));
  }
}
