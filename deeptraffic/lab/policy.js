// Policy files in the module: reading and writing (FORMAT.md), and a network's place in the module's memory.
import { Assembler, Network, Tensor, layerFromJson } from "./layers.js";

const product = (numbers) => numbers.reduce((a, b) => a * b, 1);

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
    network.check_tensors();
    const program = new Assembler(network);
    program.add_layers();
    this.network = network;
    this.shapes = program.shapes;
    this.places = program.at;
    this.historySize = 1 + (seen.temporal_window ?? 0) * (this.cells + 1);
    this.memorySize = program.memory;
    this.record = engine.struct("policy");
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

  /** Whether the network is asked at an agent's next decision; before that, it has seen too few for its temporal window. */
  isAsked(agent = 0) {
    const calls = this.engine.array("f8", this.record.get("history") + 8 * agent * this.historySize, 1)[0];
    return calls >= (this.manifest.observation.temporal_window ?? 0);
  }

  /** The network's outputs if an agent decided now; nothing is remembered. */
  outputs(road, agent = 0) {
    const places = ["history", "memory"].map((name) => [this.record.get(name), this.record.get("agents") * this[`${name}Size`]]);
    const kept = places.map(([at, count]) => this.engine.array("f8", at, count).slice());
    this.act(road, agent);
    places.forEach(([at, count], k) => this.engine.array("f8", at, count).set(kept[k]));
    return this.engine.array("f8", this.record.get("scratch") + 8 * this.record.get("out"), this.record.get("outputs")).slice();
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

  /** The weights by which a unit of a layer reads the layer before it, as { source, weights, bias }; {} where it has none. */
  weightsOf(layer, unit) {
    const { type, inputs, kernel, stride = [1, 1], padding = [0, 0] } = this.manifest.layers[layer] ?? {};
    const source = inputs?.[0] ?? layer;
    const { [`${layer + 1}.weight`]: weight, [`${layer + 1}.bias`]: biases } = this.network.tensors;
    if (!["dense", "conv2d"].includes(type) || !weight) return {};
    const shape = this.shapes[source];
    const found = new Float64Array(product(shape));
    const [outputs, ...window] = weight.shape;
    const out = unit % outputs;
    if (type === "dense") {
      const first = Math.floor(unit / outputs) * window[0];
      for (let k = 0; k < window[0]; k++) found[first + k] = weight.values[out * weight.strides[0] + k * weight.strides[1]];
    } else {
      const place = Math.floor(unit / outputs);
      const columns = this.shapes[layer + 1][1];
      const corner = [Math.floor(place / columns), place % columns].map((at, axis) => at * stride[axis] - padding[axis]);
      for (let i = 0; i < kernel[0]; i++) for (let j = 0; j < kernel[1]; j++) for (let c = 0; c < shape[2]; c++) {
        const [row, column] = [corner[0] + i, corner[1] + j];
        if (row < 0 || row >= shape[0] || column < 0 || column >= shape[1]) continue;
        const [, down, across, deep] = weight.strides;
        found[(row * shape[1] + column) * shape[2] + c] = weight.values[out * weight.strides[0] + i * down + j * across + c * deep];
      }
    }
    return { source, weights: found, bias: biases?.values[out] ?? 0 };
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

/** Write a policy file of tensors [name, shape, values], float64 or float32 as the values are. */
export function writePolicyFile(manifest, tensors, key) {
  const header = { __metadata__: { [key]: JSON.stringify(manifest) } };
  let at = 0;
  for (const [name, shape, values] of tensors) {
    header[name] = { dtype: `F${8 * values.BYTES_PER_ELEMENT}`, shape, data_offsets: [at, at + values.byteLength] };
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
