// Driving, evaluating and training in a page by the package's own compiled functions, `engine.wasm`.
// It lays out records and moves bytes; rules, layers and learners are in the module, the assembly of networks in layers.js.
//
//   const engine = await Engine.load();                    // or Engine.load(bytes of engine.wasm)
//   const road = engine.road({ rules: 2018, otherAgents: 0 });
//   road.resetOpen(7); road.step(1); road.speedMph
//   const policy = engine.policy(bytes of a policy file);
//   const result = await engine.evaluate(policy, { onProgress, signal });
//   const learner = engine.learner({ ...engine.presets["mit-basic"], seed: 1 });      // or of a preset of PQN
//   await learner.train(10_000, { onProgress, signal }); learner.policyFile("mine")
//
// Everything is synchronous but `evaluate` and `train`, which work in slices of some 30 ms. Meant for a worker.
import { policyFromConvNetJS, weightsForConvNetJS } from "./convnetjs.js";
import { Learner } from "./deepqlearn.js";
import { Policy } from "./policy.js";
import { PQN } from "./pqn.js";

const SECTION = "deeptraffic";
const SLICE_MS = 30;
const PAGE = 65536;
const ALIGNMENT = 64;
const READ = {
  f8: (view, at) => view.getFloat64(at, true), i4: (view, at) => view.getInt32(at, true), u1: (view, at) => view.getUint8(at),
  i8: (view, at) => Number(view.getBigInt64(at, true)), u8: (view, at) => Number(view.getBigUint64(at, true)),
  b1: (view, at) => view.getUint8(at) !== 0,
};
const WRITE = {
  f8: (view, at, value) => view.setFloat64(at, value, true), i4: (view, at, value) => view.setInt32(at, value, true),
  i8: (view, at, value) => view.setBigInt64(at, BigInt(value), true), u1: (view, at, value) => view.setUint8(at, value),
  u8: (view, at, value) => view.setBigUint64(at, BigInt(value), true), b1: (view, at, value) => view.setUint8(at, value),
};
const ARRAYS = { f8: Float64Array, f4: Float32Array, i8: BigInt64Array, u8: BigUint64Array, i4: Int32Array, u1: Uint8Array };
const sizeOf = (kind) => Number(kind.slice(1));
const nextTask = () => new Promise((resolve) => {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => { port1.close(); resolve(); };
  port2.postMessage(null);
});

/** Call work(done, count) for slices of `total` that take some 30 ms each, and let other tasks run between them. */
async function inSlices(done, total, { onProgress, signal }, work) {
  let size = 1;
  while (done < total) {
    signal?.throwIfAborted();
    const count = Math.min(Math.max(1, Math.floor(size)), total - done);
    const started = performance.now();
    work(done, count);
    const took = performance.now() - started;
    size = Math.min(4 * size, count * SLICE_MS / Math.max(took, 0.1));
    done += count;
    onProgress?.(done, total);
    await nextTask();
  }
}

/** A record in the module's memory, by the names of its fields. */
class Struct {
  constructor(engine, kind, address) {
    const { size, fields } = engine.layout.records[kind];
    Object.assign(this, { engine, size, fields, address: address ?? engine.allocate(size) });
  }

  get(name) {
    const [kind, place] = this.fields[name];
    return READ[kind](this.engine.view, this.address + place);
  }

  set(values) {
    for (const [name, value] of Object.entries(values)) {
      const [kind, place] = this.fields[name];
      WRITE[kind](this.engine.view, this.address + place, value);
    }
    return this;
  }

  /** The field's values, as they are now and until the module's memory grows. */
  array(name) {
    const [kind, place, count] = this.fields[name];
    return this.engine.array(kind, this.address + place, count);
  }

  get bytes() {
    return this.engine.array("u1", this.address, this.size);
  }
}

export class Engine {
  /** Load the module from its bytes, or from beside this file. */
  static async load(bytes) {
    const content = bytes ?? await (await fetch(new URL("engine.wasm", import.meta.url))).arrayBuffer();
    const module = await WebAssembly.compile(content);
    return new Engine(module, await WebAssembly.instantiate(module, {}));
  }

  constructor(module, instance) {
    const [section] = WebAssembly.Module.customSections(module, SECTION);
    this.layout = JSON.parse(new TextDecoder().decode(section));
    this.calls = instance.exports;
    this.memory = instance.exports.memory;
    this.free = []; // [address, size] of what was released
    this.sizes = new Map();
    this.top = align(instance.exports.__heap_base.value);
  }

  get presets() {
    return { ...this.layout.deepqlearn.presets, ...this.layout.pqn.presets };
  }

  // --- memory ---------------------------------------------------------------------------------------------------------

  get view() {
    if (this.cached?.buffer !== this.memory.buffer) this.cached = new DataView(this.memory.buffer);
    return this.cached;
  }

  array(kind, address, count) {
    return new ARRAYS[kind](this.memory.buffer, address, count);
  }

  /** Return the address of so many zero bytes. Arrays of compiled functions lie above all that was allocated. */
  allocate(bytes) {
    const size = align(Math.max(bytes, 1));
    const found = this.free.findIndex(([, room]) => room === size);
    const [address] = found < 0 ? [this.top] : this.free.splice(found, 1)[0];
    if (found < 0) this.top += size;
    const missing = Math.ceil((this.top - this.memory.buffer.byteLength) / PAGE);
    if (missing > 0) this.memory.grow(missing);
    this.view.setUint32(this.calls.top.value, this.top, true);
    this.array("u1", address, size).fill(0);
    this.sizes.set(address, size);
    return address;
  }

  release(address) {
    this.free.push([address, this.sizes.get(address)]);
    this.sizes.delete(address);
  }

  store(kind, values) {
    const address = this.allocate(sizeOf(kind) * values.length);
    this.array(kind, address, values.length).set(values);
    return address;
  }

  struct(kind, address) {
    return new Struct(this, kind, address);
  }

  sizeOf(kind) {
    return sizeOf(kind);
  }

  inSlices(done, total, options, work) {
    return inSlices(done, total, options, work);
  }

  // --- what it offers -------------------------------------------------------------------------------------------------

  road(options) {
    return new Road(this, options);
  }

  policy(content) {
    return new Policy(this, content);
  }

  learner(settings) {
    return settings.algo === "pqn" ? new PQN(this, settings) : new Learner(this, settings);
  }

  /** The policy file of the original game's weights, and the weights of a policy file. */
  policyFromConvNetJS(weights, given, created) {
    return policyFromConvNetJS(this, weights, given, created);
  }

  weightsForConvNetJS(content) {
    return weightsForConvNetJS(this, content);
  }

  /**
   * Play the runs of an evaluation with a policy, or with the number of an action that is always taken.
   *
   * protocol: "official", or "open" with runs and seedSet; rules, otherAgents: the policy's own by default
   * Returns { score, mean, scores (of each run), speedSums, passed, runs, frames }, speeds in mph; onProgress is called
   * with the number of runs played, that of all, and the scores of those played.
   */
  async evaluate(policy, options = {}) {
    const { protocol = "official", seedSet = "tuning" } = options;
    const manifest = policy.manifest ?? { rules: 2018, other_agents: 0 };
    const { rules = manifest.rules, otherAgents = rules === manifest.rules ? manifest.other_agents : 0 } = options;
    const isOpen = protocol === "open";
    const official = this.layout.official[rules];
    const runs = isOpen ? options.runs ?? 1000 : official.runs;
    const frames = isOpen ? this.layout.open_frames : official.frames;
    const road = this.road({ rules, otherAgents });
    const playing = new Runs(this, road, runs, frames);
    if (policy instanceof Policy) policy.attach(otherAgents + 1);
    if (isOpen) await playing.open(this.layout.seed_sets[seedSet][0], policy.manifest?.epsilon > 0);
    else this.calls.start(road.rules.address, road.game.address, 1);
    try {
      const onProgress = options.onProgress && ((done, total) => options.onProgress(done, total, playing.scores(done)));
      await inSlices(0, runs, { ...options, onProgress }, (first, count) => playing.play(policy, first, count));
      return playing.result(isOpen);
    } finally {
      playing.release();
      road.release();
    }
  }
}

const align = (address) => Math.ceil(address / ALIGNMENT) * ALIGNMENT;

// --- one game ---------------------------------------------------------------------------------------------------------

/** One game. Its state for drawing: `x`, `y`, `lane`, `speedFactor`, ... as typed arrays; `cells` is the speed map. */
export class Road {
  constructor(engine, { rules = 2018, otherAgents = 0 } = {}) {
    const contest = engine.layout.contests[rules];
    if (!contest) throw new Error(`rules must be one of ${Object.keys(engine.layout.contests)}, got ${rules}`);
    this.engine = engine;
    this.otherAgents = otherAgents;
    this.rules = new Struct(engine, "rules").set({ ...contest, other_agents: otherAgents });
    this.game = new Struct(engine, "game").set({ waiting: engine.layout.nobody });
    this.actions = engine.allocate(8 * (otherAgents + 1));
    this.places = [this.rules.address, this.game.address];
  }

  release() {
    for (const address of [...this.places, this.actions]) this.engine.release(address);
  }

  /** Stand where a freshly loaded game does before its first reset. */
  start(seed = 1) {
    this.engine.calls.start(...this.places, seed);
  }

  reset(run) {
    this.engine.calls.reset(...this.places, run);
  }

  /** Start the open run with this seed, as `env.reset(seed=...)` does. */
  resetOpen(seed) {
    this.engine.calls.reset_open(...this.places, seed);
  }

  /** Run to the ego car's next decision; `others`: actions of the other agents. */
  step(action, others = []) {
    this.engine.array("i8", this.actions, this.otherAgents + 1).fill(0n)
      .set([action, ...others].map(BigInt));
    this.engine.calls.step(...this.places, this.actions);
  }

  /** Hand the action to the agent that the game waits for and run to a decision or to the end of a frame; who waits. */
  drive(action, endFrame) {
    return this.engine.calls.drive(...this.places, action, endFrame);
  }

  /** Play until so many frames have ended; `decide(agent)` returns the action of an agent whose decision is due. */
  play(decide, endFrame) {
    let agent = this.drive(0, endFrame);
    while (agent !== this.engine.layout.nobody) agent = this.drive(decide(agent), endFrame);
  }

  /** What an agent observes, (2 * lanesSide + 1) * (ahead + behind) values. */
  observe(lanesSide, ahead, behind, agent = 0) {
    const { engine } = this;
    const size = (2 * lanesSide + 1) * (ahead + behind);
    const [sensor, out] = [engine.store("i8", [lanesSide, ahead, behind].map(BigInt)), engine.allocate(8 * size)];
    engine.calls.observe(...this.places, sensor, agent, out);
    const found = engine.array("f8", out, size).slice();
    [sensor, out].forEach((address) => engine.release(address));
    return found;
  }

  /** The column and the line of the first cell that an agent observes; the others follow row by row. */
  firstCell(lanesSide, ahead, behind, agent = 0) {
    const { engine } = this;
    const [sensor, out] = [engine.store("i8", [lanesSide, ahead, behind].map(BigInt)), engine.allocate(16)];
    engine.calls.locate(...this.places, sensor, agent, out);
    const found = [...engine.array("i8", out, 2)].map(Number);
    [sensor, out].forEach((address) => engine.release(address));
    return found;
  }

  /** The cells that the safety system checks for the ego car now, [column, line, whether it blocks]; first those ahead. */
  checkSafety() {
    const { engine } = this;
    const out = engine.allocate(24 * engine.layout.safety_cells);
    const count = engine.calls.check_safety(...this.places, out);
    const found = [...engine.array("i8", out, 3 * count)].map(Number);
    engine.release(out);
    return Array.from({ length: count }, (_, k) => [found[3 * k], found[3 * k + 1], found[3 * k + 2] === 1]);
  }

  /** Call look() as if a vehicle were not in the speed map. */
  without(vehicle, look) {
    const cells = this.state("cells");
    const places = [...cells.keys()].filter((at) => cells[at] === vehicle + 1);
    for (const at of places) cells[at] = 0;
    const found = look(places.length);
    for (const at of places) this.state("cells")[at] = vehicle + 1;
    return found;
  }

  actByGaps(agent = 0) {
    return this.engine.calls.act_by_gaps(...this.places, agent);
  }

  /** A field of the game: a number, or a typed array of its values until the module's memory grows. */
  state(name) {
    return this.game.fields[name][2] > 1 ? this.game.array(name) : this.game.get(name);
  }

  get speedMph() {
    const speed = this.game.get("following_speed") * this.game.get("speed_factor");
    return this.engine.layout.mph_per_px * speed;
  }

  /** The contest's score [mph] of the frames so far; NaN before the first. */
  get score() {
    const { engine, game } = this;
    const found = engine.allocate(8);
    engine.calls.score_runs(game.address + game.fields.score_sum[1], 1, this.state("frame"), found);
    const score = engine.array("f8", found, 1)[0];
    engine.release(found);
    return score;
  }

  /** The whole game as bytes, and back. */
  save() {
    return this.game.bytes.slice();
  }

  restore(bytes) {
    this.game.bytes.set(bytes);
  }
}

// --- runs of an evaluation --------------------------------------------------------------------------------------------

class Runs {
  constructor(engine, road, count, frames) {
    Object.assign(this, { engine, road, count, frames, keys: 0 });
    this.record = new Struct(engine, "runs");
    this.position = engine.allocate(8);
    this.sums = engine.allocate(8 * count);
    this.passed = engine.allocate(8 * count);
    this.streams = 0;
    this.record.set({ rules: road.rules.address, game: road.game.address, frames, position: this.position });
  }

  /** Make them independent runs of the seeds from `first` on; with keys for a policy that acts at random. */
  async open(first, needsKeys) {
    const { engine, count } = this;
    this.streams = engine.allocate(16 * count);
    for (let k = 0; k < count; k++) engine.calls.hash_seed(first + k, this.streams + 16 * k);
    if (!needsKeys) return;
    const streams = engine.array("i8", this.streams, 2 * count).slice();
    this.keys = engine.allocate(8 * count);
    for (let k = 0; k < count; k++) { // as deeptraffic.sim.random.run_keys
      const text = new TextEncoder().encode(`${streams[2 * k]} ${streams[2 * k + 1]}`);
      const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", text));
      engine.array("u1", this.keys + 8 * k, 8).set(digest.subarray(0, 8));
    }
  }

  play(policy, first, count) {
    const { engine, record, streams, keys } = this;
    engine.array("i8", this.position, 1)[0] = -1n;
    record.set({ first_run: streams ? first : first + 1, runs: count, speed_sums: this.sums + 8 * first, passed: this.passed + 8 * first });
    record.set({ streams: streams + 16 * first, open_runs: streams ? count : 0, keys: keys + 8 * first, keyed_runs: keys ? count : 0 });
    if (typeof policy === "number") engine.calls.play_constant_runs(policy, record.address);
    else engine.calls.play_runs(policy.record.address, record.address);
  }

  /** The scores of the first runs. */
  scores(count) {
    const { engine } = this;
    const found = engine.allocate(8 * this.count);
    engine.calls.score_runs(this.sums, count, this.frames, found);
    const scores = [...engine.array("f8", found, count)];
    engine.release(found);
    return scores;
  }

  result(isOpen) {
    const { engine, count, frames } = this;
    const scores = this.scores(count);
    const [speedSums, passed] = [[...engine.array("f8", this.sums, count)], [...engine.array("i8", this.passed, count)].map(Number)];
    const ordered = isOpen ? scores.slice().sort((a, b) => a - b) : scores.slice().sort(); // the game sorted them as text
    const middle = ordered[count >> 1];
    const score = isOpen && count % 2 === 0 ? (ordered[count / 2 - 1] + middle) / 2 : middle;
    const mean = scores.reduce((a, b) => a + b, 0) / count;
    return { score, mean, scores, speedSums, passed, runs: count, frames };
  }

  release() {
    for (const address of [this.record.address, this.position, this.sums, this.passed, this.streams, this.keys]) {
      if (address) this.engine.release(address);
    }
  }
}
