// The edge between two runs: drag it, or move it with the arrow keys.

export class Swipe {
  constructor(handle, changed) {
    this.handle = handle;
    this.changed = changed;
    this.share = 0.5; // of the view's width
    handle.addEventListener("pointerdown", (event) => this.drag(event));
    handle.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -0.02, ArrowRight: 0.02, Home: -1, End: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      this.move(this.share + step * (event.shiftKey ? 5 : 1));
    });
    this.move(0.5);
  }

  move(share) {
    this.share = Math.min(1, Math.max(0, share));
    this.handle.style.left = `${100 * this.share}%`;
    this.handle.setAttribute("aria-valuenow", Math.round(100 * this.share));
    this.changed();
  }

  drag(event) {
    event.preventDefault();
    event.stopPropagation();
    this.handle.focus();
    this.handle.setPointerCapture(event.pointerId);
    const box = this.handle.parentElement.getBoundingClientRect();
    const move = (moved) => this.move((moved.clientX - box.left) / box.width);
    this.handle.addEventListener("pointermove", move);
    const stop = () => this.handle.removeEventListener("pointermove", move);
    this.handle.addEventListener("lostpointercapture", stop, { once: true });
  }
}
