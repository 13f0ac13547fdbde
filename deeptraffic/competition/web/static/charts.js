// Figures of a competition, drawn by uPlot from one JSON answer: scores over time, their distribution, and scatter plots.
import uPlot from "./vendor/uplot/uPlot.esm.js";

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const box = document.querySelector("[data-figures]");
const plots = [];
let data = null;

function axis(label, extra = {}) {
  return { label, labelSize: 26, stroke: css("--muted"), grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line"), width: 1 },
    font: "12px system-ui, sans-serif", labelFont: "600 12px system-ui, sans-serif", ...extra };
}

function points(colour, size = 6) {
  return { show: true, size, width: 0, fill: colour, stroke: colour };
}

// alone: how far the axis goes to the left and right of a single value.
function make(place, options, columns, alone = [1, 1]) {
  place.textContent = "";
  const width = place.clientWidth;
  const height = Math.max(220, Math.min(340, Math.round(width * 0.55)));
  const plot = new uPlot({ width, height, padding: [8, 34, 0, 0], legend: { live: true }, cursor: { points: { size: 8 } }, ...options }, columns, place);
  if (columns[0].length === 1) plot.setScale("x", { min: columns[0][0] - alone[0], max: columns[0][0] + alone[1] }); // uPlot calls no range function for one
  const canvas = plot.root.querySelector("canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", place.closest("section").querySelector("h2").textContent);
  plots.push(plot);
}

// A range with room around the values, and some for values that are all the same.
const roomy = (least) => (_, low, high) => {
  const room = Math.max(least, (high - low) * 0.06);
  return [low - room, high + room];
};
const speeds = { range: roomy(1) };

const compact = new Intl.NumberFormat(undefined, { notation: "compact" });
const mph = (_, value) => (value == null ? "–" : `${value.toFixed(2)} mph`);

// Days on the axis, and hours in a line below where days are far apart.
const days = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const hours = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
function times(plot, values) {
  const within = values.length > 1 && values[1] - values[0] < 86400;
  return values.map((value) => new Date(value * 1000)).map((moment) => days.format(moment) + (within ? `\n${hours.format(moment)}` : ""));
}

function overTime(place) {
  const rows = [...data.entries].sort((a, b) => a.time - b.time);
  let best = -Infinity;
  const leading = rows.map((row) => (best = Math.max(best, row.score)));
  const mine = rows.map((row) => (row.mine ? row.score : null));
  make(place, {
    scales: { x: { time: true }, y: speeds },
    axes: [axis("", { values: times, space: 90, size: 46, labelSize: 0, label: undefined }), axis("official score, mph")],
    series: [
      { label: "when", value: (_, value) => (value == null ? "–" : new Date(value * 1000).toLocaleString()) },
      { label: "submission", value: mph, paths: () => null, points: points(css("--free") + "88", 5), stroke: css("--free") },
      { label: "best so far", value: mph, stroke: css("--trail"), width: 2.5, points: { show: false }, paths: uPlot.paths.stepped({ align: 1 }) },
      { label: "yours", value: mph, paths: () => null, points: points(css("--ego"), 8), stroke: css("--ego") },
    ],
  }, [rows.map((row) => row.time), rows.map((row) => row.score), leading, mine], [43200, 43200]);
}

function distribution(place) {
  const bars = data.distribution;
  make(place, {
    scales: { x: { time: false, range: (_, low, high) => [low, high + data.bin] }, y: { range: (_, low, high) => [0, Math.max(high, 1) * 1.08] } },
    axes: [axis("best official score, mph"), axis("participants", { incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000] })],
    series: [
      { label: "from", value: (_, value) => (value == null ? "–" : `${value} to ${value + data.bin} mph`) },
      { label: "participants", stroke: css("--free"), fill: css("--free") + "66", width: 1.5, points: { show: false },
        paths: uPlot.paths.bars({ size: [0.96, 100], align: 1 }) },
    ],
  }, [bars.map((bar) => bar.from), bars.map((bar) => bar.count)], [data.bin, 2 * data.bin]);
}

function scatter(place, key, label, log) {
  const rows = data.entries.filter((row) => row[key] != null && (!log || row[key] > 0)).sort((a, b) => a[key] - b[key]);
  make(place, {
    scales: { x: { time: false, distr: log ? 3 : 1, range: log ? undefined : (_, low, high) => [Math.min(0, low), high + Math.max(1, (high - low) * 0.05)] }, y: speeds },
    axes: [axis(label, { space: 60, ...(log ? { values: (_, values) => values.map((value) => (value == null ? null : compact.format(value))) } : {}) }), axis("official score, mph")],
    series: [
      { label, value: (_, value) => (value == null ? "–" : value.toLocaleString()) },
      { label: "score", value: mph, paths: () => null, points: points(css("--free") + "77", 6), stroke: css("--free") },
      { label: "yours", value: mph, paths: () => null, points: points(css("--ego"), 8), stroke: css("--ego") },
    ],
  }, [rows.map((row) => row[key]), rows.map((row) => row.score), rows.map((row) => (row.mine ? row.score : null))]);
}

function draw() {
  for (const plot of plots.splice(0)) plot.destroy();
  for (const place of box.querySelectorAll("[data-chart]")) {
    const { chart, key, label, log } = place.dataset;
    if (chart === "time") overTime(place);
    else if (chart === "distribution") distribution(place);
    else scatter(place, key, label, log === "yes");
  }
  box.dataset.ready = "yes";
}

async function start() {
  const answer = await fetch(box.dataset.figures);
  if (!answer.ok) { box.querySelector("[data-part=status]").textContent = "The figures could not be loaded; reload the page."; return; }
  const raw = await answer.json();
  const { columns } = raw;
  const entries = columns.time.map((_, k) => Object.fromEntries(Object.keys(columns).map((name) => [name, columns[name][k]])));
  for (const k of raw.mine) entries[k].mine = true;
  data = { ...raw, entries };
  draw();
  let width = box.clientWidth;
  new ResizeObserver(() => { if (Math.abs(box.clientWidth - width) > 4) { width = box.clientWidth; draw(); } }).observe(box);
  document.addEventListener("themechange", draw);
}

if (box) start();
