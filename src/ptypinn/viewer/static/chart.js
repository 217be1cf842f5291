// Small line charts with two axes, in the colours of the page.

import { rounded } from "./units.js";

const MARGIN = { left: 46, right: 8, top: 8, bottom: 28 };

// Lines are { x: [...], y: [...], colour: "--accent", dashed }; missing y values are null and appear as a gap.
export function drawChart(canvas, lines, { xLabel, logarithmic = false, cursor = null }) {
  const ratio = devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const style = getComputedStyle(canvas);
  const colour = (name) => style.getPropertyValue(name).trim();
  const value = (y) => (logarithmic ? Math.log10(y) : y);
  const good = (y) => y !== null && Number.isFinite(value(y));
  const xs = lines.flatMap((line) => line.x);
  const ys = lines.flatMap((line) => line.y.filter(good).map(value));
  if (!ys.length) return null;
  const [x0, x1] = padRange(extreme(Math.min, xs), extreme(Math.max, xs), 0);
  const [y0, y1] = padRange(extreme(Math.min, ys), extreme(Math.max, ys), 0.06);
  const px = (x) => MARGIN.left + ((x - x0) / (x1 - x0)) * (width - MARGIN.left - MARGIN.right);
  const py = (y) => height - MARGIN.bottom - ((y - y0) / (y1 - y0)) * (height - MARGIN.top - MARGIN.bottom);
  context.font = "11px system-ui, sans-serif";
  context.fillStyle = colour("--muted");
  context.strokeStyle = colour("--line");
  context.textBaseline = "middle";
  context.textAlign = "right";
  for (const tick of logarithmic ? decades(y0, y1) : ticks(y0, y1, 4)) {
    context.beginPath();
    context.moveTo(MARGIN.left, py(tick));
    context.lineTo(width - MARGIN.right, py(tick));
    context.stroke();
    context.fillText(label(logarithmic ? 10 ** tick : tick), MARGIN.left - 5, py(tick));
  }
  context.textAlign = "center";
  context.textBaseline = "top";
  for (const tick of ticks(x0, x1, 5)) context.fillText(label(tick), px(tick), height - MARGIN.bottom + 3);
  context.fillText(xLabel, (MARGIN.left + width - MARGIN.right) / 2, height - 13);
  const heightOf = (y) => (good(y) ? py(value(y)) : null);
  for (const line of lines) stroke(context, line, colour(line.colour), px, heightOf);
  if (cursor !== null && cursor >= x0 && cursor <= x1) {
    context.strokeStyle = colour("--muted");
    context.beginPath();
    context.moveTo(px(cursor), MARGIN.top);
    context.lineTo(px(cursor), height - MARGIN.bottom);
    context.stroke();
  }
  return { xAt: (screen) => x0 + ((screen - MARGIN.left) / (width - MARGIN.left - MARGIN.right)) * (x1 - x0) };
}

function stroke(context, line, colour, px, py) {
  context.strokeStyle = colour;
  context.lineWidth = 1.5;
  context.setLineDash(line.dashed ? [5, 3] : []);
  context.beginPath();
  let drawing = false;
  line.x.forEach((x, k) => {
    const y = py(line.y[k]);
    if (y !== null) context[drawing ? "lineTo" : "moveTo"](px(x), y);
    drawing = y !== null;
  });
  context.stroke();
  context.setLineDash([]);
  context.lineWidth = 1;
}

const extreme = (pick, values) => values.reduce((a, b) => pick(a, b)); // unlike Math.min(...values), of any length

function padRange(low, high, fraction) {
  const margin = high > low ? (high - low) * fraction : Math.abs(low) * 0.05 || 0.5;
  return [low - margin, high + margin];
}

const label = (value) =>
  Math.abs(value) >= 1e4 ? Number(value.toPrecision(2)).toExponential().replace("e+", "e") : rounded(value, 3);

// Logarithms of round numbers: powers of ten on a long axis, and 2 and 5 times them as well on a short one.
function decades(low, high) {
  const steps = high - low > 3 ? [1] : [1, 2, 5];
  const powers = Array.from({ length: Math.ceil(high) - Math.floor(low) + 1 }, (_, k) => Math.floor(low) + k);
  const round = powers.flatMap((power) => steps.map((step) => power + Math.log10(step)));
  const inRange = round.filter((tick) => tick >= low && tick <= high);
  return inRange.length > 1 ? inRange : ticks(low, high, 3);
}

function ticks(low, high, count) {
  const rough = (high - low) / count;
  const decade = 10 ** Math.floor(Math.log10(rough));
  const step = decade * [1, 2, 5, 10].find((factor) => factor * decade >= rough);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, k) => (first + k) * step);
}
