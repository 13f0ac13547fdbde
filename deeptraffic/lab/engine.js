// Driving, evaluating and training in a page by the package's own compiled functions, `engine.wasm`.
// It lays out records and moves bytes; rules, layers and learners are in the module, the assembly of networks in layers.js.
//
//   const engine = await Engine.load();                    // or Engine.load(bytes of engine.wasm)
//   const road = engine.road({ rules: 2018, otherAgents: 0 });
//   road.resetOpen(7); road.step(1); road.speedMph
//   const policy = engine.policy(bytes of a policy file);
//   const result = await engine.evaluate(policy, { onProgress, signal });
//   const learner = engine.learner({ ...engine.presets["mit-basic"], seed: 1 });
//   await learner.train(10_000, { onProgress, signal }); learner.policyFile("mine")
//
// Everything is synchronous but `evaluate` and `train`, which work in slices of some 30 ms. Meant for a worker.
import { Assembler, Network, Tensor, layerFromJson } from "./layers.js";

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
const product = (numbers) => numbers.reduce((a, b) => a * b, 1);
const nextTask = () => new Promise((resolve) => {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => { port1.close(); resolve(); };
  port2.postMessage(null);
});

/** Call work(count) for slices of `total` that take some 30 ms each, and let other tasks run between them. */
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
    return this.layout.deepqlearn.presets;
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

  // --- what it offers -------------------------------------------------------------------------------------------------

  road(options) {
    return new Road(this, options);
  }

  policy(content) {
    return new Policy(this, content);
  }

  learner(settings) {
    return new Learner(this, settings);
  }

  /**
   * Play the runs of an evaluation with a policy, or with the number of an action that is always taken.
   *
   * protocol: "official", or "open" with runs and seedSet; rules, otherAgents: the policy's own by default
   * Returns { score, mean, scores (of each run), speedSums, passed, runs, frames }, speeds in mph.
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
      await inSlices(0, runs, options, (first, count) => playing.play(policy, first, count));
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

  /** Let a policy drive all agents until so many frames have ended. */
  advance(policy, endFrame) {
    this.engine.calls.advance(policy.record.address, ...this.places, endFrame);
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

  result(isOpen) {
    const { engine, count, frames } = this;
    const found = engine.allocate(8 * count);
    engine.calls.score_runs(this.sums, count, frames, found);
    const scores = [...engine.array("f8", found, count)];
    const [speedSums, passed] = [[...engine.array("f8", this.sums, count)], [...engine.array("i8", this.passed, count)].map(Number)];
    engine.release(found);
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

// --- policies ---------------------------------------------------------------------------------------------------------

/** A policy file: `manifest`, its network in the module's memory, and after a decision the values of every layer. */
export class Policy {
  constructor(engine, content) {
    const { manifest, tensors } = readPolicyFile(content, engine.layout.file.key);
    const seen = manifest.observation;
    if ("options" in seen || seen.kind !== "vector") throw new Error(`a page cannot compute the observation ${seen.kind}`);
    this.engine = engine;
    this.manifest = manifest;
    this.cells = (2 * seen.lanes_side + 1) * (seen.patches_ahead + seen.patches_behind);
    const inputs = this.cells + (seen.temporal_window ?? 0) * (this.cells + engine.layout.actions.length);
    const network = new Network(inputs, manifest.layers.map(layerFromJson), tensors);
    network.check_size();
    const program = new Assembler(network);
    program.add_layers();
    this.network = network;
    this.shapes = program.shapes;
    this.places = program.at;
    this.historySize = 1 + (seen.temporal_window ?? 0) * (this.cells + 1);
    this.memorySize = program.memory;
    this.record = new Struct(engine, "policy");
    const weights = program.weights.flat();
    const chances = manifest.random_actions?.length ? manifest.random_actions : engine.layout.actions.map(() => 1 / 5);
    let total = 0;
    this.owned = [
      this.record.address,
      engine.store("i8", program.rows.flat().map(BigInt)),
      engine.store("f8", weights),
      engine.allocate(8 * program.scratch),
      engine.store("f8", chances.map((chance) => (total += chance))),
    ];
    const [, table, weightsAt, scratch, cumulative] = this.owned;
    this.record.set({
      table, operations: program.rows.length, weights: weightsAt, weights_size: weights.length, scratch, cumulative,
      scratch_size: program.scratch, out: program.at.at(-1), outputs: engine.layout.actions.length,
      lanes_side: seen.lanes_side, patches_ahead: seen.patches_ahead, patches_behind: seen.patches_behind,
      history_size: this.historySize, memory_size: this.memorySize, epsilon: manifest.epsilon ?? 0,
      seed: manifest.action.rule === "sample" ? manifest.action.seed : -1,
    });
    this.attached = [];
    this.attach((manifest.other_agents ?? 0) + 1);
  }

  /** Drive so many agents, of which the first is the ego car, with empty memories. */
  attach(agents) {
    const { engine } = this;
    this.attached.forEach((address) => engine.release(address));
    const [history, memory, streams] = [8 * this.historySize, 8 * this.memorySize, 8].map((size) => engine.allocate(agents * size));
    this.attached = [history, memory, streams];
    this.record.set({ history, memory, streams, agents });
    engine.calls.start_exploration(this.record.address);
  }

  /** Return the decision of an agent for what it observes now. */
  act(road, agent = 0) {
    return this.engine.calls.act(this.record.address, ...road.places, agent);
  }

  /** Compute the network for these inputs; see `activity`. */
  run(inputs) {
    this.engine.array("f8", this.record.get("scratch"), inputs.length).set(inputs);
    this.engine.calls.run_network(this.record.address);
  }

  /** The values of the input and of every layer at the last decision. */
  get activity() {
    const scratch = this.record.get("scratch");
    return this.places.map((at, k) => this.engine.array("f8", scratch + 8 * at, product(this.shapes[k])).slice());
  }

  release() {
    for (const address of [...this.owned, ...this.attached]) this.engine.release(address);
  }
}

/** Read a policy file (FORMAT.md): its manifest, and its tensors by name. */
export function readPolicyFile(content, key) {
  const bytes = new Uint8Array(content);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = bytes.length >= 8 ? Number(view.getBigUint64(0, true)) : Infinity;
  if (8 + length > bytes.length) throw new Error("this is not a policy file: its header breaks off");
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  const manifest = header.__metadata__?.[key];
  if (!manifest) throw new Error(`this is not a policy file: its header has no ${key}`);
  delete header.__metadata__;
  const tensors = {};
  for (const [name, { dtype, shape, data_offsets: [begin, end] }] of Object.entries(header)) {
    tensors[name] = new Tensor(readFloats(bytes.slice(8 + length + begin, 8 + length + end), dtype), shape);
  }
  return { manifest: JSON.parse(manifest), tensors };
}

function readFloats(bytes, dtype) {
  if (dtype === "F64") return new Float64Array(bytes.buffer);
  if (dtype === "F32") return Float64Array.from(new Float32Array(bytes.buffer));
  if (dtype === "F16") return Float64Array.from(new Uint16Array(bytes.buffer), halfToDouble);
  throw new Error(`tensors must be F64, F32 or F16, got ${dtype}`);
}

function halfToDouble(bits) {
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  const size = exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15);
  return bits & 0x8000 ? -size : size;
}

/** Write a policy file of float64 tensors: [name, shape, values]. */
export function writePolicyFile(manifest, tensors, key) {
  const header = { __metadata__: { [key]: JSON.stringify(manifest) } };
  let at = 0;
  for (const [name, shape, values] of tensors) {
    header[name] = { dtype: "F64", shape, data_offsets: [at, at + values.byteLength] };
    at += values.byteLength;
  }
  // The format's JSON is ASCII: other characters of a label are escaped, as Python does.
  const ascii = JSON.stringify(header).replace(/[\u0080-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
  const text = new TextEncoder().encode(ascii.padEnd(Math.ceil(ascii.length / 8) * 8));
  const bytes = new Uint8Array(8 + text.length + at);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  tensors.reduce((place, [, , values]) => {
    bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), place);
    return place + values.byteLength;
  }, 8 + text.length);
  return bytes;
}

// --- deepqlearn -------------------------------------------------------------------------------------------------------

/**
 * The original game's learner. Settings by the names of a run's configuration: `engine.presets["mit-basic"]` is complete.
 * The same seed learns the same weights as `deeptraffic train deepqlearn`, bit for bit.
 */
export class Learner {
  constructor(engine, settings) {
    const { arrays, activations, settings: names } = engine.layout.deepqlearn;
    Object.assign(this, { engine, settings });
    const { layers, lanes_side, patches_ahead, patches_behind, temporal_window: window } = settings;
    this.road = engine.road({ rules: settings.rules, otherAgents: settings.other_agents });
    this.record = new Struct(engine, "learner");
    const cells = (2 * lanes_side + 1) * (patches_ahead + patches_behind);
    const sizes = { entries: settings.experience_size, width: cells + window * (cells + engine.layout.actions.length), cells, window, agents: settings.other_agents + 1 };
    const hidden = engine.store("i8", layers.flatMap(([neurons, name]) => [neurons, activations[name]]).map(BigInt));
    this.table = engine.allocate(56 * (layers.length + 1));
    this.record.set({ lanes_side, patches_ahead, patches_behind, window, agents: sizes.agents, entries: sizes.entries, width: sizes.width });
    this.record.set({ rules: this.road.rules.address, game: this.road.game.address, layers: this.table, layer_rows: layers.length + 1 });
    this.record.set(Object.fromEntries(names.map((name) => [name, settings[name]])));
    engine.calls.size_layers(hidden, layers.length, this.record.address);
    engine.release(hidden);
    sizes.parameters = this.rows().at(-1).biases + engine.layout.actions.length;
    this.record.set({ parameters: sizes.parameters });
    this.arrays = {};
    for (const [name, [kind, shape]] of Object.entries(arrays)) {
      const count = product(shape.map((axis) => sizes[axis] ?? axis));
      const [type, items] = kind === "tally" ? ["u1", engine.layout.records.tally.size] : [kind, count];
      this.arrays[name] = { type, count: items, address: engine.allocate(sizeOf(type) * items) };
      this.record.set({ [name]: this.arrays[name].address });
    }
    this.tally = new Struct(engine, "tally", this.arrays.tally.address);
    engine.calls.start_learner(this.record.address, settings.seed);
  }

  /** The layers of the network: their sizes, and where their weights and biases start among the parameters. */
  rows() {
    const table = [...this.engine.array("i8", this.table, 7 * (this.settings.layers.length + 1))].map(Number);
    return Array.from({ length: table.length / 7 }, (_, k) => {
      const [inputs, outputs, , weights, biases] = table.slice(7 * k);
      return { inputs, outputs, weights, biases };
    });
  }

  get decisions() {
    return this.tally.get("age");
  }

  /** Weights and biases, until the module's memory grows. */
  get params() {
    return this.engine.array("f8", this.arrays.params.address, this.arrays.params.count);
  }

  /** Train until so many decisions have been made. */
  async train(decisions, options = {}) {
    await inSlices(this.decisions, decisions, options, (_, count) => this.advance(count));
  }

  advance(decisions) {
    this.engine.calls.train(this.record.address, decisions);
    if (!this.params.every(Number.isFinite)) throw new Error("the weights grew beyond all bounds; lower the learning rate");
  }

  /** The exploring policy's mean speed [mph] and the loss since the last call; null where there is none. */
  metrics() {
    const made = this.decisions - this.tally.get("reported");
    const losses = this.tally.get("losses");
    const found = {
      mph: made ? this.engine.layout.mph_per_px * ((60 + 20 * this.tally.get("reward_sum") / made) / 30) : null,
      loss: losses ? this.tally.get("loss_sum") / losses : null,
    };
    this.tally.set({ reported: this.decisions, reward_sum: 0, loss_sum: 0, losses: 0 });
    return found;
  }

  /** The network as a policy file. */
  policyFile(label, created = new Date()) {
    const { settings: s, engine } = this;
    const [layers, tensors] = [[], []];
    this.rows().forEach(({ inputs, outputs, weights, biases }, k) => {
      layers.push({ type: "dense", outputs });
      tensors.push([`${layers.length}.weight`, [outputs, inputs], this.params.slice(weights, biases)]);
      tensors.push([`${layers.length}.bias`, [outputs], this.params.slice(biases, biases + outputs)]);
      const activation = s.layers[k]?.[1];
      if (activation) layers.push({ type: activation, ...(activation === "tanh" ? { form: "convnetjs" } : {}) });
    });
    const { lanes_side, patches_ahead, patches_behind, temporal_window } = s;
    const manifest = {
      format_version: engine.layout.file.format, rules: s.rules, other_agents: s.other_agents,
      observation: { kind: "vector", lanes_side, patches_ahead, patches_behind, temporal_window },
      layers, action: { rule: "argmax", seed: 0 }, label: label.slice(0, 100), author: "",
      training: { algorithm: "deepqlearn", decisions: this.decisions, gamma: s.gamma, seed: s.seed },
      created: `${created.toISOString().slice(0, 19)}Z`,
    };
    return writePolicyFile(manifest, tensors, engine.layout.file.key);
  }

  /** All that its future depends on, as { settings, game, arrays }, which IndexedDB stores as it is; see `restore`. */
  save() {
    const copies = Object.entries(this.arrays).map(([name, { type, address, count }]) => [name, this.engine.array(type, address, count).slice()]);
    return { settings: this.settings, game: this.road.save(), arrays: Object.fromEntries(copies) };
  }

  /** Go on from what `save` returned, of a learner with the same settings but for the seed. */
  restore({ game, arrays }) {
    for (const [name, { type, address, count }] of Object.entries(this.arrays)) {
      if (arrays[name]?.length !== count) throw new Error(`the saved ${name} is of other settings`);
      this.engine.array(type, address, count).set(arrays[name]);
    }
    this.road.restore(game);
  }

  release() {
    for (const { address } of Object.values(this.arrays)) this.engine.release(address);
    for (const address of [this.table, this.record.address]) this.engine.release(address);
    this.road.release();
  }
}
