// Overlays of the pictures: scale bar, positions, the line of a profile.

import { scaleBar } from "./units.js";

const MAX_RINGS = 3000;
const HALO = "rgba(0, 0, 0, 0.65)";
const MARK = "#ffffff";
const SELECTED = "#ffb000";

export function drawScaleBar(context, camera, pixelSize) {
  const { screen, label } = scaleBar(Math.min(220, camera.width * 0.3), camera.scale, pixelSize);
  const [x, y] = [14, camera.height - 18];
  context.font = "600 13px system-ui, sans-serif";
  const boxWidth = Math.max(screen, context.measureText(label).width) + 16;
  context.fillStyle = "rgba(0, 0, 0, 0.55)";
  context.fillRect(x - 8, y - 24, boxWidth, 34);
  context.fillStyle = MARK;
  context.fillRect(x, y, screen, 4);
  context.textBaseline = "bottom";
  context.textAlign = "left";
  context.fillText(label, x, y - 2);
}

export function drawPositions(context, camera, place, scan, selected, all) {
  const screen = ([y, x]) => camera.toScreen(place.x + x * place.pixel, place.y + y * place.pixel);
  if (all) {
    const visible = scan.centres_px.map(screen).filter((point) => within(point, camera));
    const radius = visible.length > MAX_RINGS ? 1 : 3;
    for (const [colour, width] of [[HALO, 3], [MARK, 1.2]]) {
      context.beginPath();
      for (const { x, y } of visible) {
        context.moveTo(x + radius, y);
        context.arc(x, y, radius, 0, 2 * Math.PI);
      }
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.stroke();
    }
  }
  if (selected === null) return;
  const centre = screen(scan.centres_px[selected]);
  const side = scan.size_px * place.pixel * camera.scale;
  for (const [colour, width] of [[HALO, 4], [SELECTED, 2]]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.strokeRect(centre.x - side / 2, centre.y - side / 2, side, side);
    context.beginPath();
    context.arc(centre.x, centre.y, 5, 0, 2 * Math.PI);
    context.stroke();
  }
}

export function drawLine(context, camera, line, marker) {
  if (!line) return;
  const [from, to] = line.map(({ x, y }) => camera.toScreen(x, y));
  for (const [colour, width] of [[HALO, 4], [SELECTED, 2]]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.beginPath();
    context.moveTo(from.x, from.y);
    context.lineTo(to.x, to.y);
    for (const point of [from, to]) {
      context.moveTo(point.x + 4, point.y);
      context.arc(point.x, point.y, 4, 0, 2 * Math.PI);
    }
    context.stroke();
  }
  if (!marker) return;
  const point = camera.toScreen(marker.x, marker.y);
  context.fillStyle = SELECTED;
  context.beginPath();
  context.arc(point.x, point.y, 5, 0, 2 * Math.PI);
  context.fill();
}

const within = ({ x, y }, camera) => x > -4 && y > -4 && x < camera.width + 4 && y < camera.height + 4;
