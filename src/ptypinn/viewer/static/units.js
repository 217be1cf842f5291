// Format numbers: lengths with an SI prefix, and scale bars of a round length.

const PREFIXES = [[1, "m"], [1e-3, "mm"], [1e-6, "µm"], [1e-9, "nm"], [1e-12, "pm"]];

export function metres(length, digits = 3) {
  const [scale, unit] = PREFIXES.find(([size]) => Math.abs(length) >= size * (1 - 1e-9)) ?? PREFIXES.at(-1);
  return `${rounded(length / scale, digits)} ${unit}`;
}

// One SI prefix for all labels of an axis of this length.
export function axisUnit(length, pixelSize) {
  if (!pixelSize) return { factor: 1, unit: "px" };
  const [scale, unit] = PREFIXES.find(([size]) => length * pixelSize >= size) ?? PREFIXES.at(-1);
  return { factor: pixelSize / scale, unit };
}

export function rounded(value, digits = 4) {
  if (!Number.isFinite(value)) return "–";
  const near = Number(value.toPrecision(digits));
  const plain = near === 0 || (Math.abs(near) >= 1e-4 && Math.abs(near) < 1e6);
  return (plain ? String(near) : near.toExponential()).replace("e+", "e");
}

// A length of 1, 2 or 5 times a power of ten, at most `maxLength` screen pixels long.
export function scaleBar(maxLength, scale, pixelSize) {
  const pixel = pixelSize || 1;
  const target = (maxLength / scale) * pixel;
  const decade = 10 ** Math.floor(Math.log10(target));
  const length = decade * [5, 2, 1].find((step) => step * decade <= target * (1 + 1e-9));
  const label = pixelSize ? metres(length) : `${rounded(length)} px`;
  return { screen: (length / pixel) * scale, label };
}
