// Worker that drives: plays the frames that the page asks for, and reports what to draw after them.
import { Engine } from "./engine.js";
import { FACTS } from "./facts.js";

const { trail: TRAIL, speedFrames: SPEED_FRAMES, map: MAP } = FACTS;
const loaded = Engine.load();
let engine, road, policy;
let driver = { action: 0 };
let seed = 1;
let overlay = "none";
let held = [];
let tapped = 0;
let past = []; // of the ego car, newest first: { x, y, ground, speed }
let ground = 0;
let speeds = { sum: 0, count: 0 };

function restart() {
  road.resetOpen(seed);
  policy?.attach(road.otherAgents + 1);
  [past, ground, speeds, tapped] = [[], 0, { sum: 0, count: 0 }, 0];
  remember();
}

/** Let another driver take the wheel; the run goes on unless it is one with other agents. */
function change(given) {
  const next = given.file ? engine.policy(given.file) : undefined;
  const { rules = 2018, other_agents: otherAgents = 0 } = next?.manifest ?? {};
  policy?.release();
  [policy, driver] = [next, given];
  if (!given.restart && road?.otherAgents === otherAgents && road.year === rules) {
    policy?.attach(otherAgents + 1);
    return;
  }
  road?.release();
  road = Object.assign(engine.road({ rules, otherAgents }), { year: rules });
  seed = given.seed ?? seed;
  restart();
}

const nextAction = () => tapped || held.at(-1) || driver.action || 0;

function playFrame() {
  const scroll = road.state("scroll");
  const end = road.state("frame") + 1;
  if (policy) {
    road.advance(policy, end);
  } else {
    let agent = road.drive(0, end);
    while (agent !== engine.layout.nobody) {
      agent = road.drive(agent === 0 ? nextAction() : 0, end);
      tapped = 0;
    }
  }
  ground += scroll;
  remember();
  speeds = { sum: speeds.sum + past[0].speed, count: speeds.count + 1 };
}

function remember() {
  past.unshift({ x: road.state("x")[0], y: road.state("y")[0], ground, speed: road.speedMph });
  past.length = Math.min(past.length, TRAIL.frames + 1);
}

const mean = (values) => values.reduce((a, b) => a + b, 0) / Math.max(values.length, 1);

/** The shade of a cell that a vehicle of this speed [px/frame] occupies. */
const level = (speed) => Math.round(Math.min(Math.max(speed / MAP.top, 0), 1) * (MAP.levels - 1));

/** The occupied cells of the speed map, [column, line, level]; the game holds a vehicle's number in each. */
function mapCells() {
  const { lanes, rows } = FACTS.road;
  const [cells, marks, pad] = [road.state("cells"), road.state("map_speed"), engine.layout.pad];
  const found = [];
  for (let column = 0; column < lanes; column++) for (let line = 0; line < rows; line++) {
    const vehicle = cells[column * (cells.length / lanes) + pad + line];
    if (vehicle) found.push([column, line, level(marks[vehicle])]);
  }
  return found;
}

/** The cells that the policy observes, [column, line, tile], by their values. */
function inputCells() {
  const seen = policy?.manifest.observation;
  if (!seen) return [];
  const sensor = [seen.lanes_side, seen.patches_ahead, seen.patches_behind];
  const [left, top] = road.firstCell(...sensor);
  const columns = 2 * seen.lanes_side + 1;
  return [...road.observe(...sensor)].map((value, k) => {
    const tile = value === 1 ? "free" : value === 0 ? "off" : level(value * road.rules.get("empty"));
    return [left + k % columns, top + Math.floor(k / columns), tile];
  });
}

const CELLS = { none: () => [], input: inputCells, map: mapCells };

function report() {
  const frame = {
    kind: "frame", frame: road.state("frame"), passed: road.state("passed"), otherAgents: road.otherAgents, seed,
    speed: Math.floor(mean(past.slice(0, SPEED_FRAMES).map((each) => each.speed))),
    mean: speeds.count ? speeds.sum / speeds.count : null,
    x: road.state("x").slice(), y: road.state("y").slice(), ground,
    trail: past.map(({ x, y, ground: then }) => [x, y + ground - then]),
    cells: CELLS[overlay](),
    action: policy ? null : nextAction(),
  };
  postMessage(frame);
}

const HANDLERS = {
  driver: change,
  restart({ seed: wanted }) { seed = wanted; restart(); },
  advance({ frames }) { for (let k = 0; k < frames; k++) playFrame(); },
  overlay({ name }) { overlay = name; },
  press({ action }) { tapped = action; held = [...held.filter((each) => each !== action), action]; },
  release({ action }) { held = held.filter((each) => each !== action); },
};

onmessage = async ({ data }) => {
  engine ??= await loaded;
  try {
    HANDLERS[data.kind](data);
    if (data.kind === "driver") postMessage({ kind: "driving", id: data.id, manifest: policy?.manifest });
  } catch (error) {
    postMessage({ kind: "error", id: data.id, message: error.message });
    if (!road) change({ action: 0 });
  }
  if (!["press", "release"].includes(data.kind)) report();
};
