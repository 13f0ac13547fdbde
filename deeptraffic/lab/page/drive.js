// Worker that drives: plays the frames that the page asks for, and reports what to draw after them.
import { Engine } from "./engine.js";
import { FACTS } from "./facts.js";
import { Run } from "./run.js";

const { map: MAP } = FACTS;
const loaded = Engine.load();
let engine, run, ghost;
let overlay = "none";
let limit = Infinity; // frames of a run

/** Drive a second car, of the same seed, in a world of its own. */
function setRival({ rival }) {
  ghost?.release();
  ghost = undefined;
  if (!rival) return;
  const next = new Run(engine);
  next.change(rival);
  if (next.road.otherAgents !== run.road.otherAgents || next.road.year !== run.road.year) {
    next.release();
    throw new Error("these two drive on different roads, with other rules or another number of agents");
  }
  ghost = next;
  restart(rival.seed ?? run.seed);
}

function restart(seed) {
  run.restart(seed);
  ghost?.restart(seed);
}

function advance(frames) {
  for (let k = 0; k < frames && run.frame < limit; k++) {
    run.playFrame();
    ghost?.playFrame();
  }
}

/** The shade of a cell that a vehicle of this speed [px/frame] occupies. */
const level = (speed) => Math.round(Math.min(Math.max(speed / MAP.top, 0), 1) * (MAP.levels - 1));

/** The occupied cells of the speed map, [column, line, level]; the game holds a vehicle's number in each. */
function mapCells() {
  const { lanes, rows } = FACTS.road;
  const [cells, marks, pad] = [run.road.state("cells"), run.road.state("map_speed"), engine.layout.pad];
  const found = [];
  for (let column = 0; column < lanes; column++) for (let line = 0; line < rows; line++) {
    const vehicle = cells[column * (cells.length / lanes) + pad + line];
    if (vehicle) found.push([column, line, level(marks[vehicle])]);
  }
  return found;
}

/** The cells that the policy observes, [column, line, tile], by their values. */
function inputCells() {
  const seen = run.policy?.manifest.observation;
  if (!seen) return [];
  const sensor = [seen.lanes_side, seen.patches_ahead, seen.patches_behind];
  const [left, top] = run.road.firstCell(...sensor);
  const columns = 2 * seen.lanes_side + 1;
  return [...run.road.observe(...sensor)].map((value, k) => {
    const tile = value === 1 ? "free" : value === 0 ? "off" : level(value * run.road.rules.get("empty"));
    return [left + k % columns, top + Math.floor(k / columns), tile];
  });
}

const safetyCells = () => run.road.checkSafety().map(([column, line, blocks]) => [column, line, blocks ? "blocked" : "clear"]);

const CELLS = { none: () => [], attention: () => [], input: inputCells, safety: safetyCells, map: mapCells };

/** How fast each traffic car wants to drive: 0 in the fastest quarter, 3 in the slowest. */
function paces() {
  const [slowest, range, share] = ["min", "range", "share"].map((name) => run.road.rules.get(`traffic_factor_${name}`));
  return Array.from(run.road.state("speed_factor"), (factor) => Math.max(0, Math.min(3, Math.floor(4 * (1 - (factor - slowest) / (range * share))))));
}

const rival = () => ghost && {
  x: ghost.road.state("x")[0], y: ghost.road.state("y")[0] + run.ground - ghost.ground, score: ghost.score, gap: run.distance - ghost.distance,
};

function report() {
  const { road } = run;
  if (run.insight?.isNews) {
    postMessage({ kind: "insight", frame: run.frame, refused: road.state("blocked") !== 0, ...run.insight });
    run.insight.isNews = false;
  }
  postMessage({
    kind: "frame", frame: run.frame, passed: road.state("passed"), otherAgents: road.otherAgents, seed: run.seed, hasEnded: run.frame >= limit,
    speed: run.speed, mean: run.score, x: road.state("x").slice(), y: road.state("y").slice(), paces: paces(), ground: run.ground, trail: run.trail,
    cells: CELLS[overlay](), attention: overlay === "attention" ? run.attention : [], rival: rival(),
    action: run.policy ? null : run.nextAction,
  });
}

const HANDLERS = {
  driver: (given) => run.change(given), // the run goes on unless it is one with other agents
  rival: setRival,
  limit({ frames }) { limit = frames; },
  restart: ({ seed }) => restart(seed),
  advance: ({ frames }) => advance(frames),
  overlay({ name }) { overlay = name; run.attending = name === "attention"; },
  watch({ isOn }) { run.watching = isOn; },
  press({ action }) { run.tapped = action; run.held = [...run.held.filter((each) => each !== action), action]; },
  release({ action }) { run.held = run.held.filter((each) => each !== action); },
  weights({ id, layer, unit }) { postMessage({ kind: "weights", id, ...run.policy?.weightsOf(layer, unit) }); },
  keep() { postMessage({ kind: "kept", seed: run.seed, actions: run.actions.slice(), score: run.score }); },
};
const SILENT = ["press", "release", "weights", "keep", "watch"];

onmessage = async ({ data }) => {
  engine ??= await loaded;
  run ??= new Run(engine);
  try {
    HANDLERS[data.kind](data);
    if (data.kind === "driver") {
      postMessage({ kind: "driving", id: data.id, manifest: run.policy?.manifest, shapes: run.policy?.shapes, empty: run.road.rules.get("empty") });
    }
  } catch (error) {
    postMessage({ kind: data.kind === "rival" ? "refused" : "error", id: data.id, message: error.message });
    if (!run.road) run.change({ action: 0 });
  }
  if (run.road && !SILENT.includes(data.kind)) report();
};
