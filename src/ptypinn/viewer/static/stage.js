// The canvas: one run's picture, or two with an edge between them, and what lies over them.

import { Camera } from "./camera.js";
import { drawLine, drawPositions, drawScaleBar } from "./overlay.js";
import { TiledPicture } from "./tiles.js";

// Where a run's pixel (0, 0) lies in the world of the first run, and the size of its pixels there.
export function placeOf(run, first) {
  const [mine, other] = [first.picture.pixel_size_m, run.picture.pixel_size_m];
  const pixel = mine && other ? other / mine : 1; // where one is not known, pixels lie on pixels
  const [y, x] = run.picture.origin_px.map((place) => place * pixel);
  return { x, y, pixel };
}

export class Stage {
  // `model` tells what to draw: patterns, profile, showPositions, swipe; `outdated` is called when the server has more.
  constructor(view, model, outdated) {
    this.view = view;
    this.model = model;
    this.canvas = view.querySelector("canvas");
    this.context = this.canvas.getContext("2d");
    this.camera = new Camera();
    this.draw = this.draw.bind(this);
    this.sides = []; // { run, at, picture }
    this.outdated = outdated;
    this.fitted = true; // follow the size of the view until somebody zooms or pans
    new ResizeObserver(() => this.resize()).observe(view);
  }

  // Put one run on the stage, or two to compare.
  present(runs, look) {
    this.sides = runs.map((run) => {
      const at = placeOf(run, runs[0]);
      const known = this.sides.find((side) => side.run.id === run.id);
      const picture = known?.picture ?? new TiledPicture(() => this.ask(), this.outdated);
      picture.place(at.x, at.y, at.pixel);
      return { run, at, picture };
    });
    const corners = this.sides.map(({ run, at }) => ({
      left: at.x,
      top: at.y,
      right: at.x + run.picture.width * at.pixel,
      bottom: at.y + run.picture.height * at.pixel,
    }));
    const [x, y] = [Math.min(...corners.map((one) => one.left)), Math.min(...corners.map((one) => one.top))];
    this.camera.bounds = {
      x, y,
      width: Math.max(...corners.map((one) => one.right)) - x,
      height: Math.max(...corners.map((one) => one.bottom)) - y,
    };
    if (this.fitted) this.camera.fit();
    this.look(look);
  }

  look(look) {
    for (const { run, picture } of this.sides) picture.show(run, look);
    this.ask();
  }

  // Draw at the next opportunity.
  ask() {
    if (!this.asked) this.asked = requestAnimationFrame(this.draw);
  }

  resize() {
    const ratio = (this.ratio = devicePixelRatio || 1);
    this.camera.width = this.view.clientWidth;
    this.camera.height = this.view.clientHeight;
    this.canvas.width = Math.round(this.camera.width * ratio);
    this.canvas.height = Math.round(this.camera.height * ratio);
    if (this.fitted) this.camera.fit();
    this.draw();
  }

  pan(dx, dy) {
    this.fitted = false;
    this.camera.pan(dx, dy);
    this.ask();
  }

  zoom(at, factor) {
    this.fitted = false;
    this.camera.zoomAt(at.x, at.y, factor);
    this.ask();
  }

  fit() {
    this.fitted = true;
    this.camera.fit();
    this.ask();
  }

  // One screen pixel per object pixel.
  trueSize() {
    this.zoom({ x: this.camera.width / 2, y: this.camera.height / 2 }, 1 / (this.camera.scale * this.ratio));
  }

  // The run under a screen point, and the point in its own pixels.
  under(at) {
    const side = this.sides[this.sides.length > 1 && at.x > this.edge() ? 1 : 0];
    if (!side) return null;
    const world = this.camera.toWorld(at.x, at.y);
    return { ...side, world, x: (world.x - side.at.x) / side.at.pixel, y: (world.y - side.at.y) / side.at.pixel };
  }

  edge() {
    return this.model.swipe.share * this.camera.width;
  }

  draw() {
    cancelAnimationFrame(this.asked);
    this.asked = 0;
    const { context, camera, ratio } = this;
    if (!this.sides.length || !ratio) return;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, camera.width, camera.height);
    const [first, second] = this.sides.map(({ picture }) => picture);
    const edge = second ? this.edge() : camera.width;
    this.clipped(0, edge, () => first.draw(context, camera, ratio));
    if (second) this.clipped(edge, camera.width, () => second.draw(context, camera, ratio));
    const { patterns, profile, showPositions } = this.model;
    if (patterns.book) drawPositions(context, camera, placeOf(patterns.run, patterns.run), patterns.book, patterns.picked, showPositions());
    drawLine(context, camera, this.model.line() ?? profile.line, profile.markedPoint());
    drawScaleBar(context, camera, this.sides[0].run.picture.pixel_size_m);
    this.view.dataset.drawn = this.sides.every(({ picture }) => picture.waiting === 0) ? "whole" : "partly";
  }

  clipped(from, to, draw) {
    if (to <= from) return;
    this.context.save();
    this.context.beginPath();
    this.context.rect(from, 0, to - from, this.camera.height);
    this.context.clip();
    draw();
    this.context.restore();
  }
}
