// Mouse, pen, touch and keyboard: pan, zoom, tap, and draw a line.

const MAX_TAP_MOVE = 5; // screen pixels
const STEP = 0.15; // fraction of the view per arrow key

export class Gestures {
  // `on` has the callbacks: pan, zoom, tap, hover, leave, lineStart, lineMove, lineEnd, key.
  constructor(element, on) {
    this.element = element;
    this.on = on;
    this.pointers = new Map();
    this.drawing = false; // true while a drag draws a line
    element.addEventListener("pointerdown", (event) => this.down(event));
    element.addEventListener("pointermove", (event) => this.move(event));
    element.addEventListener("pointerup", (event) => this.up(event));
    element.addEventListener("pointercancel", (event) => this.pointers.delete(event.pointerId));
    element.addEventListener("pointerleave", () => on.leave());
    element.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    element.addEventListener("keydown", (event) => this.key(event));
  }

  // Position of an event in the view.
  position(event) {
    const box = this.element.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  down(event) {
    if (event.button || event.target.closest("button, [role=slider]")) return;
    this.element.setPointerCapture(event.pointerId);
    const point = this.position(event);
    this.pointers.set(event.pointerId, { ...point, start: point, moved: false });
    if (this.pointers.size === 2) for (const other of this.pointers.values()) other.moved = true;
    else if (this.drawing) this.on.lineStart(point);
  }

  move(event) {
    const point = this.position(event);
    const pointer = this.pointers.get(event.pointerId);
    if (!pointer) return this.on.hover(point);
    if (this.pointers.size === 2) this.pinch(event.pointerId, point);
    else if (this.drawing) this.on.lineMove(point);
    else if (pointer.moved || Math.hypot(point.x - pointer.start.x, point.y - pointer.start.y) > MAX_TAP_MOVE) {
      pointer.moved = true;
      this.on.pan(point.x - pointer.x, point.y - pointer.y);
    } else return;
    pointer.x = point.x;
    pointer.y = point.y;
  }

  up(event) {
    const pointer = this.pointers.get(event.pointerId);
    this.pointers.delete(event.pointerId);
    if (!pointer) return;
    if (this.drawing && !this.pointers.size) this.on.lineEnd(this.position(event));
    else if (!pointer.moved) this.on.tap(pointer.start);
  }

  pinch(id, point) {
    const pointer = this.pointers.get(id);
    const other = [...this.pointers].find(([pointerId]) => pointerId !== id)[1];
    const before = Math.hypot(pointer.x - other.x, pointer.y - other.y);
    const after = Math.hypot(point.x - other.x, point.y - other.y);
    this.on.pan((point.x - pointer.x) / 2, (point.y - pointer.y) / 2);
    if (before > 0) this.on.zoom({ x: (point.x + other.x) / 2, y: (point.y + other.y) / 2 }, after / before);
  }

  wheel(event) {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : 1;
    const rate = event.ctrlKey ? 0.01 : 0.002; // browsers report a pinch on a trackpad as a wheel event with Ctrl
    this.on.zoom(this.position(event), Math.exp(-Math.max(-120, Math.min(120, event.deltaY * lines)) * rate));
  }

  key(event) {
    if (event.target !== this.element || event.ctrlKey || event.metaKey || event.altKey) return;
    const centre = { x: this.element.clientWidth / 2, y: this.element.clientHeight / 2 };
    const arrows = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const factors = { "+": 1.4, "=": 1.4, "-": 1 / 1.4, _: 1 / 1.4 };
    if (arrows[event.key]) {
      const [x, y] = arrows[event.key];
      this.on.pan(2 * STEP * centre.x * x, 2 * STEP * centre.y * y);
      this.on.hover(centre);
    } else if (factors[event.key]) this.on.zoom(centre, factors[event.key]);
    else if (event.key === "Enter") this.on.tap(centre);
    else if (!this.on.key(event.key)) return;
    event.preventDefault();
  }
}
