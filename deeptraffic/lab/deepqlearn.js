// The original game's own learner, deepqlearn, in the module.
import { ModuleLearner, product } from "./learner.js";

/**
 * The original game's learner. Settings by the names of a run's configuration: `engine.presets["mit-basic"]` is complete.
 * The same seed learns the same weights as `deeptraffic train deepqlearn`, bit for bit.
 */
export class Learner extends ModuleLearner {
  constructor(engine, settings) {
    super();
    const { arrays, activations, settings: names } = engine.layout.deepqlearn;
    Object.assign(this, { engine, settings });
    const { layers, lanes_side, patches_ahead, patches_behind, temporal_window: window } = settings;
    this.road = engine.road({ rules: settings.rules, otherAgents: settings.other_agents });
    this.record = engine.struct("learner");
    const cells = (2 * lanes_side + 1) * (patches_ahead + patches_behind);
    const width = cells + window * (cells + engine.layout.actions.length);
    const sizes = { entries: settings.experience_size, width, cells, window, agents: settings.other_agents + 1 };
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
      this.arrays[name] = { type, count: items, address: engine.allocate(engine.sizeOf(type) * items) };
      this.record.set({ [name]: this.arrays[name].address });
    }
    this.tally = engine.struct("tally", this.arrays.tally.address);
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
    await this.engine.inSlices(this.decisions, decisions, options, (_, count) => this.advance(count));
  }

  advance(decisions) {
    this.engine.calls.train(this.record.address, decisions);
    this.checkWeights();
  }

  /** The network as a policy file; `random`: with which epsilon and random_actions it acts at random in evaluations. */
  policyFile(label, random = {}, created = new Date()) {
    const { settings: s } = this;
    const [layers, tensors] = [[], []];
    this.rows().forEach(({ inputs, outputs, weights, biases }, k) => {
      layers.push({ type: "dense", outputs });
      tensors.push([`${layers.length}.weight`, [outputs, inputs], this.params.slice(weights, biases)]);
      tensors.push([`${layers.length}.bias`, [outputs], this.params.slice(biases, biases + outputs)]);
      const activation = s.layers[k]?.[1];
      if (activation) layers.push({ type: activation, ...(activation === "tanh" ? { form: "convnetjs" } : {}) });
    });
    const { lanes_side, patches_ahead, patches_behind, temporal_window } = s;
    return this.writeFile("deepqlearn", { layers, tensors }, { lanes_side, patches_ahead, patches_behind, temporal_window }, { label, random, created });
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
}
