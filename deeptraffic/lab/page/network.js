// The network, live: the values of its layers and outputs at each decision, names of what they mean, weights on hover.
import { $ } from "./dom.js";
import { events, send } from "./driving.js";
import { FACTS } from "./facts.js";

const FOLDED = ["relu", "leaky_relu", "elu", "tanh", "sigmoid", "gelu", "softmax", "scale", "clip", "layer_norm", "lrn", "dropout", "reshape", "flatten"];
const SHAPERS = ["dropout", "reshape", "flatten"]; // which change no value
const GAPS = ["free road ahead", "speed of the car ahead", "free road behind", "speed of the car behind", "room for a lane change", "there is a lane"];
const MAX_ROWS = 32; // units of a vector side by side in one column
const [MAX_SIDE, LABELS, GAP] = [13, 34, 10]; // px
const STRONGEST = 14; // lines from the unit that is pointed at
const RULED_OUT = 500;
const short = (value) => Math.abs(value) >= 100 ? value.toFixed(0) : Number(value.toPrecision(3)).toString();
const product = (numbers) => numbers.reduce((a, b) => a * b, 1);

const canvas = $("layers-view");
const context = canvas.getContext("2d");
let [network, insight, pointed, weights, colours] = [null, null, null, null, {}];

// --- what there is ---------------------------------------------------------------------------------------------------

/** The columns to draw: the input, and every layer with weights, with the functions behind it folded in. */
function columnsOf({ manifest, shapes }) {
  const columns = [{ at: 0, names: [], shape: shapes[0], weighted: null }];
  manifest.layers.forEach((layer, k) => {
    const last = columns.at(-1);
    const follows = !layer.inputs?.length || layer.inputs[0] === k;
    if (FOLDED.includes(layer.type) && follows && product(shapes[k + 1]) === product(shapes[last.at])) {
      if (columns.length === 1 && !SHAPERS.includes(layer.type)) columns.push({ at: k + 1, names: [layer.type], shape: shapes[k + 1], weighted: null });
      else if (columns.length > 1) {
        last.at = k + 1;
        if (!SHAPERS.includes(layer.type)) last.names.push(layer.type);
      }
    } else {
      columns.push({ at: k + 1, names: [layer.type], shape: shapes[k + 1], weighted: k });
    }
  });
  columns.forEach((column) => Object.assign(column, gridOf(column, manifest.observation)));
  return columns;
}

/** Rows and columns of a layer's picture, and the row and the column of every unit. */
function gridOf({ at, shape }, seen) {
  const places = [];
  const count = product(shape);
  if (at === 0) {
    const across = 2 * seen.lanes_side + 1;
    const along = seen.patches_ahead + seen.patches_behind;
    for (let k = 0; k < count; k++) {
      const then = k < across * along ? 0 : 1 + Math.floor((k - across * along) / (across * along + 5)); // decisions ago
      const cell = then ? (k - across * along) % (across * along + 5) : k;
      const isAction = cell >= across * along;
      const first = then * (across + 1.5) + Math.max(then - 1, 0);
      places.push(isAction ? [cell - across * along, first + across] : [Math.floor(cell / across), first + cell % across]);
    }
  } else if (shape.length === 3 && shape[0] > 1) {
    for (let k = 0; k < count; k++) {
      const [, wide, deep] = shape;
      places.push([Math.floor(k / (wide * deep)), (k % deep) * (wide + 0.7) + Math.floor(k / deep) % wide]);
    }
  } else if (shape.length > 1) {
    const deep = shape.at(-1);
    for (let k = 0; k < count; k++) places.push([k % deep, Math.floor(k / deep)]);
  } else {
    const wide = Math.ceil(count / MAX_ROWS);
    const high = Math.ceil(count / wide);
    for (let k = 0; k < count; k++) places.push([k % high, Math.floor(k / high)]);
  }
  const size = (axis) => Math.max(...places.map((place) => place[axis])) + 1;
  return { places, rows: size(0), across: size(1) };
}

const lane = (side) => side === 0 ? "own lane" : `${Math.abs(side)} lane${Math.abs(side) > 1 ? "s" : ""} ${side < 0 ? "left" : "right"}`;

function nameInput(unit, value) {
  const seen = network.manifest.observation;
  const across = 2 * seen.lanes_side + 1;
  const cells = across * (seen.patches_ahead + seen.patches_behind);
  const then = unit < cells ? 0 : 1 + Math.floor((unit - cells) / (cells + 5));
  const k = then ? (unit - cells) % (cells + 5) : unit;
  const when = then ? `, ${then} decision${then > 1 ? "s" : ""} ago` : "";
  if (k >= cells) return `the action “${FACTS.actions[k - cells]}”${when}: ${value ? "taken" : "not taken"}`;
  const ahead = seen.patches_ahead - Math.floor(k / across);
  const place = `${lane(k % across - seen.lanes_side)}, ${ahead > 0 ? `${ahead} ahead` : ahead ? `${-ahead} behind` : "beside"}${when}`;
  const what = value === 1 ? "free" : value === 0 ? "no road" : `a car at ${(value * network.empty * FACTS.mphPerPx).toFixed(0)} mph`;
  return `${place}: ${what} (${short(value)})`;
}

function nameUnit(c, unit) {
  const column = network.columns[c];
  const value = insight?.values[column.at][unit] ?? NaN;
  if (c === 0) return nameInput(unit, value);
  const [kind] = column.names;
  if (c === network.columns.length - 1) return `output “${FACTS.actions[unit]}”: ${short(value)}`;
  if (kind === "gaps") return `${lane(Math.floor(unit / GAPS.length) - network.manifest.observation.lanes_side)}, ${GAPS[unit % GAPS.length]}: ${short(value)}`;
  if (kind === "conv2d" && column.shape[1] === 2 * network.manifest.observation.lanes_side + 1) {
    const [, wide, deep] = column.shape;
    const place = lane(Math.floor(unit / deep) % wide - network.manifest.observation.lanes_side);
    return `filter ${unit % deep + 1}, ${place}${column.shape[0] > 1 ? `, row ${Math.floor(unit / (wide * deep)) + 1}` : ""}: ${short(value)}`;
  }
  return `${kind} layer ${c}, unit ${unit + 1}: ${short(value)}`;
}

// --- drawing ---------------------------------------------------------------------------------------------------------

const numbers = (colour) => colour.match(/[\d.]+/g).slice(0, 3).map(Number);
const mix = (a, b, part) => `rgb(${a.map((value, k) => Math.round(value + (b[k] - value) * part)).join(" ")})`;

function readColours() {
  const style = getComputedStyle(document.documentElement);
  const named = Object.fromEntries(["page", "text", "muted", "track", "positive", "negative", "occupied-slow", "occupied-fast"]
    .map((name) => [name, numbers(style.getPropertyValue(`--${name}`))]));
  const shades = Array.from({ length: 65 }, (_, k) => mix(named.track, k < 32 ? named.negative : named.positive, Math.abs(k - 32) / 32));
  colours = { ...named, shades, font: `11px ${style.getPropertyValue("--sans")}` };
}

/** Sizes of the columns for the room there is. */
function place() {
  const ratio = Math.min(devicePixelRatio || 1, 3);
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  Object.assign(canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  if (!network || !width) return;
  const { columns } = network;
  const [room, high] = [width - GAP * (columns.length - 1), height - LABELS];
  const sideOf = (limit) => columns.map((column) => Math.min(limit, high / column.rows));
  // cells of the road are twice as wide as long
  const widthOf = (column, side, c) => Math.max(column.across * side * (c === 0 && column.rows > 12 ? 2 : 1), 30);
  let limit = MAX_SIDE;
  while (limit > 1.2 && columns.reduce((sum, column, c) => sum + widthOf(column, sideOf(limit)[c], c), 0) > room) limit -= 0.2;
  const used = columns.map((column, c) => widthOf(column, sideOf(limit)[c], c));
  const gap = (width - used.reduce((a, b) => a + b, 0)) / Math.max(columns.length - 1, 1);
  let left = 0;
  columns.forEach((column, c) => {
    const side = sideOf(limit)[c];
    const cell = [Math.min(used[c] / column.across, side * (c === 0 && column.rows > 12 ? 2 : 1)), side];
    Object.assign(column, { left: left + (used[c] - column.across * cell[0]) / 2, top: (high - column.rows * side) / 2, cell, middle: left + used[c] / 2, room: used[c] + gap });
    left += used[c] + gap;
  });
}

const centre = ({ left, top, cell, places }, unit) => [left + (places[unit][1] + 0.5) * cell[0], top + (places[unit][0] + 0.5) * cell[1]];

function shadesOf(c, values) {
  const most = values.reduce((top, value) => Math.max(top, Math.abs(value)), 1e-12);
  const toShade = (value) => colours.shades[32 + Math.round(32 * Math.sign(value) * Math.sqrt(Math.abs(value) / most))];
  if (c > 0 || values === weights?.weights) return (unit) => toShade(values[unit]);
  const top = FACTS.map.top / network.empty;
  return (unit) => values[unit] === 1 ? colours.shades[32] : values[unit] === 0 ? null
    : mix(colours["occupied-slow"], colours["occupied-fast"], Math.min(Math.max(values[unit] / top, 0), 1));
}

function drawColumn(column, c) {
  const isSource = weights && weights.column === c;
  const values = isSource ? weights.weights : valuesOf(c);
  const shade = shadesOf(c, values);
  const line = Math.min(...column.cell) > 3 ? 0.7 : 0;
  for (let unit = 0; unit < column.places.length; unit++) {
    const colour = shade(unit);
    if (!colour) continue;
    const [row, at] = column.places[unit];
    context.fillStyle = colour;
    context.fillRect(column.left + at * column.cell[0], column.top + row * column.cell[1], column.cell[0] - line, column.cell[1] - line);
  }
  if (c === 0) markEgo(column);
  context.font = colours.font;
  context.textAlign = c === 0 ? "left" : c === network.columns.length - 1 ? "right" : "center";
  const x = c === 0 ? 0 : c === network.columns.length - 1 ? canvas.clientWidth : column.middle;
  const title = c === 0 ? "sees" : c === network.columns.length - 1 ? "says" : column.names[0].replace("conv2d", "conv");
  const rest = c === 0 ? "" : column.names.slice(1).filter((name) => name !== "layer_norm").join(" ").replace("leaky_", "");
  [[title, colours.text], [isSource ? "weights" : `${column.places.length} ${rest}`.trim(), colours.muted]].forEach(([text, colour], k) => {
    context.fillStyle = `rgb(${colour.join(" ")})`;
    context.fillText(text, x, canvas.clientHeight - LABELS + 15 + 14 * k, Math.max(column.room, 30));
  });
}

/** The place of the own car among the cells that it sees. */
function markEgo({ left, top, cell }) {
  const { lanes_side: side, patches_ahead: ahead, patches_behind: behind } = network.manifest.observation;
  if (!behind) return;
  context.strokeStyle = `rgb(${colours.negative.join(" ")})`;
  context.lineWidth = 1.5;
  context.strokeRect(left + side * cell[0], top + ahead * cell[1], cell[0], Math.min(behind, 4) * cell[1]);
}

function drawLines() {
  if (!weights?.weights) return;
  const [from, to] = [network.columns[weights.column], network.columns[pointed.c]];
  const [x, y] = centre(to, pointed.unit);
  const most = Math.abs(weights.weights[weights.order[0]]) || 1;
  for (const unit of weights.order.slice(0, STRONGEST)) {
    const [a, b] = centre(from, unit);
    const weight = weights.weights[unit];
    context.strokeStyle = `rgb(${colours[weight < 0 ? "negative" : "positive"].join(" ")} / ${(0.25 + 0.7 * Math.abs(weight) / most).toFixed(2)})`;
    context.lineWidth = 0.5 + 2.5 * Math.abs(weight) / most;
    context.beginPath();
    context.moveTo(a, b);
    context.bezierCurveTo(a + (x - a) * 0.5, b, a + (x - a) * 0.5, y, x, y);
    context.stroke();
  }
}

function valuesOf(c) {
  const { at, places } = network.columns[c];
  const values = insight?.values[at] ?? new Float64Array(places.length);
  if (c < network.columns.length - 1) return values;
  const top = Math.max(...values);
  return values.map((value) => value > top - RULED_OUT ? value : 0);
}

function draw() {
  if (!network || !colours.page || !canvas.clientWidth) return;
  context.clearRect(0, 0, canvas.width, canvas.height);
  network.columns.forEach(drawColumn);
  drawLines();
  if (!pointed) return;
  const column = network.columns[pointed.c];
  const [x, y] = centre(column, pointed.unit);
  const [wide, high] = column.cell.map((side) => Math.max(side, 5));
  context.strokeStyle = `rgb(${colours.text.join(" ")})`;
  context.lineWidth = 2;
  context.strokeRect(x - wide / 2 - 1, y - high / 2 - 1, wide + 2, high + 2);
}

let isDue = false;
function redraw() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => { isDue = false; draw(); });
}

// --- outputs ---------------------------------------------------------------------------------------------------------

const lines = FACTS.actions.map((name, action) => {
  const line = document.createElement("li");
  const [label, bar, number] = ["name", "bar", "value"].map((kind) => Object.assign(document.createElement("span"), { className: kind }));
  label.textContent = name;
  bar.append(document.createElement("i"));
  line.append(label, bar, number);
  line.addEventListener("pointerenter", () => network && point(network.columns.length - 1, action));
  line.addEventListener("pointerleave", () => point(null));
  $("outputs").append(line);
  return { line, bar: bar.firstChild, number };
});

function clearOutputs() {
  for (const { line, bar, number } of lines) [line.className, bar.style.transform, number.textContent] = ["", "scaleX(0)", ""];
  $("outputs").dataset.note = "";
}

function showOutputs() {
  const values = [...insight.values.at(-1)];
  const top = Math.max(...values);
  const kept = values.filter((value) => value > top - RULED_OUT);
  const low = Math.min(...kept);
  const digits = top > low ? Math.min(Math.max(Math.ceil(1 - Math.log10(top - low)), 1), 4) : 2; // so that they differ
  lines.forEach(({ line, bar, number }, action) => {
    const isOut = values[action] <= top - RULED_OUT;
    const isChosen = action === insight.action;
    line.className = isChosen ? insight.refused && action > 2 ? "chosen refused" : "chosen" : "";
    bar.style.transform = `scaleX(${insight.isAsked && !isOut ? (0.04 + 0.96 * (top > low ? (values[action] - low) / (top - low) : 1)).toFixed(3) : 0})`;
    number.textContent = !insight.isAsked ? "" : isOut ? "ruled out" : values[action].toFixed(digits);
  });
  $("outputs").dataset.note = insight.isAsked ? insight.refused && insight.action > 2 ? "The safety system refused the lane change." : "" : "It has not seen enough yet.";
}

// --- pointing --------------------------------------------------------------------------------------------------------

const DEFAULT = "Point at a unit to see what it means and what it listens to.";
let request = 0;

function point(c, unit) {
  const isSame = pointed && c === pointed.c && unit === pointed.unit;
  if (isSame || (c === null && !pointed)) return;
  [pointed, weights] = [c === null ? null : { c, unit }, null];
  if (pointed) askForWeights();
  tellUnit();
  redraw();
}

function askForWeights() {
  const { weighted } = network.columns[pointed.c];
  if (weighted !== null) send({ kind: "weights", id: ++request, layer: weighted, unit: pointed.unit });
}

function tellUnit() {
  $("unit").textContent = DEFAULT;
  if (!pointed || !insight) return;
  const strongest = weights?.weights ? weights.order.slice(0, 3).filter((unit) => weights.weights[unit])
    .map((unit) => `${nameUnit(weights.column, unit).replace(/:.*/, "")} (${short(weights.weights[unit])})`) : [];
  $("unit").textContent = `${nameUnit(pointed.c, pointed.unit)}.${strongest.length ? ` Largest weights: ${strongest.join("; ")}.` : ""}`;
}

function findUnit(x, y) {
  const c = network.columns.findIndex((each) => x >= each.left - 3 && x <= each.left + each.across * each.cell[0] + 3);
  if (c < 0) return null;
  const column = network.columns[c];
  const near = column.places.map((_, unit) => unit)
    .find((unit) => centre(column, unit).every((at, axis) => Math.abs([x, y][axis] - at) <= column.cell[axis] / 2 + 0.5));
  return near === undefined ? null : [c, near];
}

canvas.addEventListener("pointermove", (event) => network && point(...(findUnit(event.offsetX, event.offsetY) ?? [null])));
canvas.addEventListener("pointerdown", (event) => network && point(...(findUnit(event.offsetX, event.offsetY) ?? [null])));
canvas.addEventListener("pointerleave", ({ pointerType }) => { if (pointerType !== "touch") point(null); });
canvas.addEventListener("blur", () => point(null));
canvas.addEventListener("keydown", (event) => {
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  if (!network || !(event.key in steps)) return;
  event.preventDefault();
  event.stopPropagation();
  const [across, along] = steps[event.key];
  const c = Math.min(Math.max((pointed?.c ?? 0) + across, 0), network.columns.length - 1);
  const count = network.columns[c].places.length;
  point(c, pointed && !across ? (pointed.unit + along + count) % count : Math.min(pointed?.unit ?? 0, count - 1));
});

// --- news ------------------------------------------------------------------------------------------------------------

function take({ manifest, shapes, empty }) {
  $("network-none").hidden = Boolean(manifest);
  $("network-view").hidden = $("unit").hidden = !manifest;
  const isSame = network && manifest && JSON.stringify([network.manifest.layers, network.manifest.observation]) === JSON.stringify([manifest.layers, manifest.observation]);
  if (!isSame) {
    [insight, pointed, weights] = [null, null, null];
    clearOutputs();
  }
  network = manifest ? { manifest, shapes, empty } : null;
  if (!network) return;
  network.columns = columnsOf(network);
  $("outputs-title").textContent = manifest.training?.algorithm === "deepqlearn" ? "Action values" : "Outputs";
  place();
  if (pointed) askForWeights();
  tellUnit();
  redraw();
}

events.addEventListener("driving", ({ detail }) => take(detail));
events.addEventListener("insight", ({ detail }) => {
  if (!network || detail.values.length !== network.shapes.length) return;
  insight = detail;
  showOutputs();
  if (pointed) tellUnit();
  redraw();
});
events.addEventListener("weights", ({ detail }) => {
  if (detail.id !== request || !pointed || !detail.weights) return;
  const order = [...detail.weights.keys()].sort((a, b) => Math.abs(detail.weights[b]) - Math.abs(detail.weights[a]));
  weights = { ...detail, order, column: network.columns.findLastIndex(({ at }, c) => at <= detail.source && c < pointed.c) };
  tellUnit();
  redraw();
});
events.addEventListener("theme", () => { readColours(); redraw(); });
new ResizeObserver(() => { place(); redraw(); }).observe(canvas);
new IntersectionObserver(([{ isIntersecting }]) => send({ kind: "watch", isOn: isIntersecting })).observe($("network"));
