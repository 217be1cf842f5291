// Positions of a scan in progress: on a map of their own, and on the picture.

const [WAITING, SETTLED] = [0, 2];
const MARGIN = 10; // screen pixels
const HALO = "rgba(0, 0, 0, 0.7)";
const NEWEST = "#ffb000";
const COLOURS = ["#9aa3ad", "#e69f00", "#0072b2"]; // told apart with every kind of colour vision, and by size and filling

// Centres of the probe in pixels of the scan, and states; the newest frame is the last.
export function unpackPositions(buffer, size) {
  const number = Math.floor(buffer.byteLength / 9);
  const corners = new Float32Array(buffer, 0, 2 * number);
  const states = new Uint8Array(buffer, 8 * number, number);
  const points = Array.from({ length: number }, (_, k) => ({
    y: corners[2 * k] + size / 2,
    x: corners[2 * k + 1] + size / 2,
    state: Math.min(states[k], SETTLED),
  }));
  return { points, newest: points.at(-1) ?? null, size };
}

// With a halo, dots are visible on any picture.
export function drawPositions(context, { points }, toScreen, radius, halo = false) {
  for (const state of [WAITING, 1, SETTLED]) {
    context.beginPath();
    for (const point of points) {
      if (point.state !== state) continue;
      const { x, y } = toScreen(point);
      const own = state === SETTLED ? 0.7 * radius : radius;
      context.moveTo(x + own, y);
      context.arc(x, y, own, 0, 2 * Math.PI);
    }
    context.strokeStyle = HALO;
    context.lineWidth = 3;
    if (halo) context.stroke();
    context.fillStyle = context.strokeStyle = COLOURS[state];
    context.lineWidth = 1;
    if (state === WAITING) context.stroke();
    else context.fill();
  }
}

export function drawNewest(context, { newest, size }, toScreen, scale) {
  if (!newest) return;
  const { x, y } = toScreen(newest);
  const radius = Math.max(6, (size / 4) * scale);
  for (const [colour, width] of [[HALO, 4], [NEWEST, 2]]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + dx * (radius + 5), y + dy * (radius + 5));
      context.lineTo(x + dx * (radius - 3), y + dy * (radius - 3));
    }
    context.stroke();
  }
}

export class PositionMap {
  constructor(canvas) {
    this.canvas = canvas;
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  show(positions) {
    this.positions = positions;
    this.draw();
  }

  draw() {
    const { canvas, positions } = this;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!positions?.points.length || !width) return;
    const ratio = devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    const range = (axis) => positions.points.reduce(
      ([low, high], point) => [Math.min(low, point[axis]), Math.max(high, point[axis])], [Infinity, -Infinity]);
    const [[left, right], [top, bottom]] = [range("x"), range("y")];
    const scale = Math.min((width - 2 * MARGIN) / Math.max(1, right - left), (height - 2 * MARGIN) / Math.max(1, bottom - top));
    const toScreen = ({ x, y }) => ({
      x: width / 2 + (x - (left + right) / 2) * scale,
      y: height / 2 + (y - (top + bottom) / 2) * scale,
    });
    const spacing = Math.sqrt(((right - left) * (bottom - top) * scale ** 2) / positions.points.length);
    drawPositions(context, positions, toScreen, Math.min(4, Math.max(1, 0.35 * spacing)));
    drawNewest(context, { ...positions, size: 0 }, toScreen, scale);
  }
}
