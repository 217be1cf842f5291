// The canvas: the picture of one run, or of two side by side, and the overlays.

import { Camera } from "./camera.js";
import { drawLine, drawPositions, drawScaleBar } from "./overlay.js";
import { drawNewest, drawPositions as drawLivePositions } from "./live_map.js";
import { TiledPicture } from "./tiles.js";

const ROOM = 0.8; // size of a picture that grows, compared to the largest one that fits the view

// Position of a run's pixel (0, 0) in the world of the first run, and its pixel size there.
export function placePicture(run, first) {
  const [reference, own] = [first.picture.pixel_size_m, run.picture.pixel_size_m];
  const pixel = reference && own ? own / reference : 1; // where one is unknown, they count as equal
  const [y, x] = run.picture.origin_px.map((origin) => origin * pixel);
  return { x, y, pixel };
}

export class Stage {
  // `model` has what is drawn: patterns, profile, showPositions, swipe; `outdated` is called when the server has a newer picture.
  constructor(view, model, outdated) {
    this.view = view;
    this.model = model;
    this.canvas = view.querySelector("canvas");
    this.context = this.canvas.getContext("2d");
    this.camera = new Camera();
    this.draw = this.draw.bind(this);
    this.sides = []; // { run, place, picture }
    this.outdated = outdated;
    this.fitted = true; // true until the user zooms or pans: fit the pictures to the view when it is resized
    new ResizeObserver(() => this.resize()).observe(view);
  }

  // Show one run, or two side by side.
  present(runs, display) {
    this.sides = runs.map((run) => {
      const place = placePicture(run, runs[0]);
      const side = this.sides.find((other) => other.run.id === run.id);
      const picture = side?.picture ?? new TiledPicture(() => this.requestDraw(), this.outdated);
      picture.place(place.x, place.y, place.pixel);
      return { run, place, picture };
    });
    const corners = this.sides.map(({ run, place }) => ({
      left: place.x,
      top: place.y,
      right: place.x + run.picture.width * place.pixel,
      bottom: place.y + run.picture.height * place.pixel,
    }));
    const [x, y] = [Math.min(...corners.map((one) => one.left)), Math.min(...corners.map((one) => one.top))];
    this.camera.bounds = {
      x, y,
      width: Math.max(...corners.map((one) => one.right)) - x,
      height: Math.max(...corners.map((one) => one.bottom)) - y,
    };
    if (this.fitted) this.fitView();
    this.setDisplay(display);
  }

  // A picture that grows is made smaller where it would leave the view, and stays in its place otherwise.
  fitView() {
    const growing = this.model.live.isOn;
    if (growing && this.grown && this.camera.showsAll()) return;
    this.camera.fit(growing ? ROOM : 1);
    this.grown = growing;
  }

  setDisplay(display) {
    for (const { run, picture } of this.sides) picture.show(run, display);
    this.requestDraw();
  }

  // Draw in the next animation frame.
  requestDraw() {
    if (!this.frame) this.frame = requestAnimationFrame(this.draw);
  }

  resize() {
    const ratio = (this.ratio = devicePixelRatio || 1);
    this.camera.width = this.view.clientWidth;
    this.camera.height = this.view.clientHeight;
    this.canvas.width = Math.round(this.camera.width * ratio);
    this.canvas.height = Math.round(this.camera.height * ratio);
    this.grown = false;
    if (this.fitted) this.fitView();
    this.draw();
  }

  pan(dx, dy) {
    this.fitted = false;
    this.camera.pan(dx, dy);
    this.requestDraw();
  }

  zoom(point, factor) {
    this.fitted = false;
    this.camera.zoomAt(point.x, point.y, factor);
    this.requestDraw();
  }

  fit() {
    this.fitted = true;
    this.grown = false;
    this.fitView();
    this.requestDraw();
  }

  // One screen pixel per object pixel.
  trueSize() {
    this.zoom({ x: this.camera.width / 2, y: this.camera.height / 2 }, 1 / (this.camera.scale * this.ratio));
  }

  // The run under a screen point, and the point in its own pixels.
  pixelAt(point) {
    const side = this.sides[this.sides.length > 1 && point.x > this.edge() ? 1 : 0];
    if (!side) return null;
    const world = this.camera.toWorld(point.x, point.y);
    return { ...side, world, x: (world.x - side.place.x) / side.place.pixel, y: (world.y - side.place.y) / side.place.pixel };
  }

  edge() {
    return this.model.swipe.fraction * this.camera.width;
  }

  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    const { context, camera, ratio } = this;
    if (!this.sides.length || !ratio) return;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, camera.width, camera.height);
    const [first, second] = this.sides.map(({ picture }) => picture);
    const edge = second ? this.edge() : camera.width;
    this.drawClipped(0, edge, () => first.draw(context, camera, ratio));
    if (second) this.drawClipped(edge, camera.width, () => second.draw(context, camera, ratio));
    const { live, patterns, profile, showPositions } = this.model;
    if (live.positions) this.drawLive(live.positions, showPositions());
    else if (patterns.scan) drawPositions(context, camera, placePicture(patterns.run, patterns.run), patterns.scan, patterns.selected, showPositions());
    drawLine(context, camera, this.model.line() ?? profile.line, profile.markerPoint());
    drawScaleBar(context, camera, this.sides[0].run.picture.pixel_size_m);
    const complete = this.sides.every(({ picture }) => picture.waiting === 0);
    this.view.dataset.drawn = complete ? "complete" : "partial";
    if (complete) this.view.dataset.version = first.version;
  }

  // Positions of a scan in progress are in its coordinates, which are those of the world.
  drawLive(positions, all) {
    const toScreen = ({ x, y }) => this.camera.toScreen(x, y);
    if (all) drawLivePositions(this.context, positions, toScreen, 3, true);
    drawNewest(this.context, positions, toScreen, this.camera.scale);
  }

  drawClipped(from, to, draw) {
    if (to <= from) return;
    this.context.save();
    this.context.beginPath();
    this.context.rect(from, 0, to - from, this.camera.height);
    this.context.clip();
    draw();
    this.context.restore();
  }
}
