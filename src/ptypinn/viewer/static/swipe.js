// The edge between two runs side by side: moved by dragging, or with the arrow keys.

export class Swipe {
  constructor(handle, changed) {
    this.handle = handle;
    this.changed = changed;
    this.fraction = 0.5; // position of the edge, fraction of the view's width
    handle.addEventListener("pointerdown", (event) => this.drag(event));
    handle.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -0.02, ArrowRight: 0.02, Home: -1, End: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      this.move(this.fraction + step * (event.shiftKey ? 5 : 1));
    });
    this.move(0.5);
  }

  move(fraction) {
    this.fraction = Math.min(1, Math.max(0, fraction));
    this.handle.style.left = `${100 * this.fraction}%`;
    this.handle.setAttribute("aria-valuenow", Math.round(100 * this.fraction));
    this.changed();
  }

  drag(event) {
    event.preventDefault();
    event.stopPropagation();
    this.handle.focus();
    this.handle.setPointerCapture(event.pointerId);
    const box = this.handle.parentElement.getBoundingClientRect();
    const move = (moveEvent) => this.move((moveEvent.clientX - box.left) / box.width);
    this.handle.addEventListener("pointermove", move);
    const stop = () => this.handle.removeEventListener("pointermove", move);
    this.handle.addEventListener("lostpointercapture", stop, { once: true });
  }
}
