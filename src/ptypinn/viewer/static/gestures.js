// Mouse, pen, fingers and keys: pan, zoom, tap, and drawing a line.

const STILL = 5; // screen pixels that a tap may move
const STEP = 0.15; // share of the view that an arrow key moves

export class Gestures {
  // `on` holds the callbacks: pan, zoom, tap, hover, leave, lineStart, lineMove, lineEnd, key.
  constructor(element, on) {
    this.element = element;
    this.on = on;
    this.pointers = new Map();
    this.drawing = false; // whether the next drag draws a line
    element.addEventListener("pointerdown", (event) => this.down(event));
    element.addEventListener("pointermove", (event) => this.move(event));
    element.addEventListener("pointerup", (event) => this.up(event));
    element.addEventListener("pointercancel", (event) => this.pointers.delete(event.pointerId));
    element.addEventListener("pointerleave", () => on.leave());
    element.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    element.addEventListener("keydown", (event) => this.key(event));
  }

  where(event) {
    const box = this.element.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  down(event) {
    if (event.button || event.target.closest("button, [role=slider]")) return;
    this.element.setPointerCapture(event.pointerId);
    const at = this.where(event);
    this.pointers.set(event.pointerId, { ...at, start: at, moved: false });
    if (this.pointers.size === 2) for (const one of this.pointers.values()) one.moved = true;
    else if (this.drawing) this.on.lineStart(at);
  }

  move(event) {
    const at = this.where(event);
    const held = this.pointers.get(event.pointerId);
    if (!held) return this.on.hover(at);
    if (this.pointers.size === 2) this.pinch(event.pointerId, at);
    else if (this.drawing) this.on.lineMove(at);
    else if (held.moved || Math.hypot(at.x - held.start.x, at.y - held.start.y) > STILL) {
      held.moved = true;
      this.on.pan(at.x - held.x, at.y - held.y);
    } else return;
    held.x = at.x;
    held.y = at.y;
  }

  up(event) {
    const held = this.pointers.get(event.pointerId);
    this.pointers.delete(event.pointerId);
    if (!held) return;
    if (this.drawing && !this.pointers.size) this.on.lineEnd(this.where(event));
    else if (!held.moved) this.on.tap(held.start);
  }

  pinch(id, at) {
    const held = this.pointers.get(id);
    const other = [...this.pointers].find(([one]) => one !== id)[1];
    const before = Math.hypot(held.x - other.x, held.y - other.y);
    const after = Math.hypot(at.x - other.x, at.y - other.y);
    this.on.pan((at.x - held.x) / 2, (at.y - held.y) / 2);
    if (before > 0) this.on.zoom({ x: (at.x + other.x) / 2, y: (at.y + other.y) / 2 }, after / before);
  }

  wheel(event) {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : 1;
    const pace = event.ctrlKey ? 0.01 : 0.002; // a pinch on a trackpad comes as a wheel with Ctrl
    this.on.zoom(this.where(event), Math.exp(-Math.max(-120, Math.min(120, event.deltaY * lines)) * pace));
  }

  key(event) {
    if (event.target !== this.element || event.ctrlKey || event.metaKey || event.altKey) return;
    const middle = { x: this.element.clientWidth / 2, y: this.element.clientHeight / 2 };
    const arrows = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const factors = { "+": 1.4, "=": 1.4, "-": 1 / 1.4, _: 1 / 1.4 };
    if (arrows[event.key]) {
      const [x, y] = arrows[event.key];
      this.on.pan(2 * STEP * middle.x * x, 2 * STEP * middle.y * y);
      this.on.hover(middle);
    } else if (factors[event.key]) this.on.zoom(middle, factors[event.key]);
    else if (event.key === "Enter") this.on.tap(middle);
    else if (!this.on.key(event.key)) return;
    event.preventDefault();
  }
}
