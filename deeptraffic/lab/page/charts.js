// Charts as SVG: a curve and a histogram, which style.css colours.
const WIDTH = 320;
const HEIGHT = 120;
const [LEFT, BOTTOM, TOP] = [34, 18, 8];

function element(name, attributes = {}, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

function sheet(holder, label) {
  const svg = element("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label });
  holder.replaceChildren(svg);
  svg.append(element("line", { x1: LEFT, x2: WIDTH, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM, class: "axis" }));
  return svg;
}

const short = (value) => Math.abs(value) >= 10_000 ? `${Number((value / 1000).toPrecision(3))}k` : String(Number(value.toPrecision(3)));

/** Round numbers, at most `count` of them, that span from low to high. */
export function ticks(low, high, count = 4) {
  const span = Math.max(high - low, 1e-9);
  const power = 10 ** Math.floor(Math.log10(span / count));
  const step = power * [1, 2, 5, 10].find((factor) => span / (power * factor) <= count);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, k) => (first + k) * step);
}

/** Means of neighbouring points [x, y], no more of them than a curve can show. */
function thin(points) {
  const size = Math.ceil(points.length / WIDTH);
  if (size < 2) return points;
  const mean = (part, axis) => part.reduce((sum, point) => sum + point[axis], 0) / part.length;
  return Array.from({ length: Math.ceil(points.length / size) }, (_, k) => {
    const part = points.slice(k * size, (k + 1) * size);
    return [mean(part, 0), mean(part, 1)];
  });
}

/** A curve through points [x, y], of which the x rise to `end`. */
export function drawCurve(holder, points, end, label) {
  const svg = sheet(holder, label);
  const shown = thin(points.filter(([, y]) => Number.isFinite(y)));
  if (!shown.length) return;
  const values = shown.map(([, y]) => y);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = Math.max((high - low) * 0.08, Math.abs(high) * 0.02, 1e-9);
  const across = (x) => LEFT + x / end * (WIDTH - LEFT - 4);
  const along = (y) => HEIGHT - BOTTOM - (y - low + room) / (high - low + 2 * room) * (HEIGHT - BOTTOM - TOP);
  for (const y of ticks(low - room, high + room, 3)) {
    svg.append(element("line", { x1: LEFT, x2: WIDTH, y1: along(y), y2: along(y), class: "grid" }));
    svg.append(element("text", { x: LEFT - 5, y: along(y) + 3.5, class: "end" }, short(y)));
  }
  for (const x of ticks(0, end, 4)) svg.append(element("text", { x: Math.min(across(x), WIDTH - 3 * short(x).length - 1), y: HEIGHT - 4, class: "middle" }, short(x)));
  svg.append(element("polyline", { points: shown.map(([x, y]) => `${across(x).toFixed(1)},${along(y).toFixed(1)}`).join(" "), class: "curve" }));
}

/** Bars of 1 mph, and a mark at the score. */
export function drawHistogram(holder, scores, score, label) {
  const svg = sheet(holder, label);
  if (!scores.length) return;
  const low = Math.floor(Math.min(...scores, 45));
  const high = Math.ceil(Math.max(...scores, 80));
  const counts = new Array(high - low + 1).fill(0);
  for (const each of scores) counts[Math.floor(each) - low] += 1;
  const most = Math.max(...counts);
  const across = (x) => LEFT + (x - low) / (high - low + 1) * (WIDTH - LEFT - 4);
  const along = (count) => HEIGHT - BOTTOM - count / most * (HEIGHT - BOTTOM - TOP - 12);
  counts.forEach((count, k) => {
    if (count) svg.append(element("rect", { x: across(low + k) + 0.4, width: across(1) - across(0) - 0.8, y: along(count), height: HEIGHT - BOTTOM - along(count), class: "bar" }));
  });
  for (const x of ticks(low, high, 6)) svg.append(element("text", { x: across(x), y: HEIGHT - 4, class: "middle" }, short(x)));
  for (const y of ticks(0, most, 2)) if (Number.isInteger(y)) svg.append(element("text", { x: LEFT - 5, y: along(y) + 3.5, class: "end" }, short(y)));
  if (score === null) return;
  const x = across(score);
  svg.append(element("line", { x1: x, x2: x, y1: TOP + 6, y2: HEIGHT - BOTTOM, class: "mark" }));
  svg.append(element("text", { x, y: TOP + 2, class: x > WIDTH - 40 ? "end strong" : "middle strong" }, score.toFixed(2)));
}
