// Compiled PQN in the module: Q-learning without replay buffer from many envs, a round of which is one call.
import { ModuleLearner, product } from "./learner.js";

/**
 * PQN on lane gaps (kind "gaps") or the sensor's cells ("vector"). Settings by the names of a run's configuration:
 * `engine.presets["pqn-quick"]` is complete. It learns as `deeptraffic train pqn` does, but for the order of sums.
 */
export class PQN extends ModuleLearner {
  constructor(engine, settings) {
    super();
    Object.assign(this, { engine, settings });
    const { state, rollout, activations, settings: names, layer_columns: columns } = engine.layout.pqn;
    const { hidden, kind, lanes_side, patches_ahead, patches_behind, num_envs: envs, n_steps } = settings;
    this.road = engine.road({ rules: settings.rules, otherAgents: settings.other_agents });
    this.record = engine.struct("pqn");
    const lanes = 2 * lanes_side + 1;
    const inputs = lanes * (kind === "gaps" ? engine.layout.pqn.gap_features : patches_ahead + patches_behind);
    this.table = engine.allocate(8 * columns * (hidden.length + 1));
    this.record.set({ rules: this.road.rules.address, lanes_side, patches_ahead, patches_behind, shows_gaps: kind === "gaps" ? 1 : 0 });
    this.record.set({ envs, n_steps, inputs, layers: this.table, layer_rows: hidden.length + 1 });
    this.record.set(Object.fromEntries(names.map((name) => [name, settings[name]])));
    const units = engine.store("i8", hidden.map(BigInt));
    engine.calls.size_pqn(units, hidden.length, activations[settings.activation], settings.layer_norm ? 1 : 0, this.record.address);
    engine.release(units);
    const last = this.rows().at(-1);
    const parameters = last.place + last.outputs * (last.inputs + 1);
    const sizes = { envs, n_steps, inputs, parameters, states: n_steps + 1, actions: engine.layout.actions.length };
    this.record.set({ parameters });
    this.arrays = {};
    for (const [name, [type, shape]] of Object.entries({ ...state, ...rollout })) {
      const count = product(shape.map((axis) => sizes[axis]));
      const record = engine.layout.records[type];
      const array = record ? { type: "u1", count: count * record.size } : { type, count };
      this.arrays[name] = { ...array, address: engine.allocate(engine.sizeOf(array.type) * array.count) };
      this.record.set({ [name]: this.arrays[name].address });
    }
    this.tally = engine.struct("pqn_tally", this.arrays.tally.address);
    engine.calls.start_pqn(this.record.address, settings.seed);
  }

  /** The layers of the network: their sizes, whether they are normalised, and where their parameters start. */
  rows() {
    const columns = this.engine.layout.pqn.layer_columns;
    const table = [...this.engine.array("i8", this.table, columns * (this.settings.hidden.length + 1))].map(Number);
    return Array.from({ length: table.length / columns }, (_, k) => {
      const [inputs, outputs, isNormalised, , place] = table.slice(columns * k);
      return { inputs, outputs, isNormalised: isNormalised !== 0, place };
    });
  }

  get decisions() {
    return this.tally.get("decisions");
  }

  /** All parameters, until the module's memory grows. */
  get params() {
    return this.array("params");
  }

  array(name) {
    const { type, address, count } = this.arrays[name];
    return this.engine.array(type, address, count);
  }

  /** Train by whole rounds until at least so many decisions have been made. */
  async train(decisions, options = {}) {
    const size = this.settings.num_envs * this.settings.n_steps;
    const onProgress = options.onProgress && (() => options.onProgress(this.decisions, decisions));
    const rounds = [this.decisions, decisions].map((count) => Math.ceil(count / size));
    await this.engine.inSlices(...rounds, { ...options, onProgress }, (_, count) => {
      for (let k = 0; k < count; k++) {
        this.play();
        this.learn();
      }
    });
  }

  /** Play a round, from which `learn` then learns. */
  play() {
    this.engine.calls.play_pqn(this.record.address);
  }

  learn() {
    this.engine.calls.learn_pqn(this.record.address);
    this.checkWeights();
  }

  /** The network as a policy file; `random`: with which epsilon and random_actions it acts at random in evaluations. */
  policyFile(label, random = {}, created = new Date()) {
    const { settings: s, engine } = this;
    const { lanes_side, patches_ahead, patches_behind } = s;
    const sensor = { lanes_side, patches_ahead, patches_behind };
    const layers = s.kind === "gaps" ? [{ type: "gaps", ...sensor, empty: engine.layout.contests[s.rules].empty }] : [];
    const tensors = [];
    const add = (layer, shape, place) => {
      layers.push(layer);
      const count = product(shape);
      tensors.push([`${layers.length}.weight`, shape, this.params.slice(place, place + count)]);
      tensors.push([`${layers.length}.bias`, [shape[0]], this.params.slice(place + count, place + count + shape[0])]);
    };
    this.rows().forEach(({ inputs, outputs, isNormalised, place }, k) => {
      add({ type: "dense", outputs }, [outputs, inputs], place);
      if (isNormalised) add({ type: "layer_norm" }, [outputs], place + outputs * (inputs + 1));
      if (k < s.hidden.length) layers.push({ type: s.activation });
    });
    return this.writeFile("pqn", { layers, tensors }, { ...sensor, temporal_window: 0 }, { label, random, created });
  }

  /** All that its future depends on, as { settings, arrays }, which IndexedDB stores as it is; see `restore`. */
  save() {
    const names = Object.keys(this.engine.layout.pqn.state);
    return { settings: this.settings, arrays: Object.fromEntries(names.map((name) => [name, this.array(name).slice()])) };
  }

  /** Go on from what `save` returned, of a learner with the same settings but for the seed. */
  restore({ arrays }) {
    for (const name of Object.keys(this.engine.layout.pqn.state)) {
      if (arrays[name]?.length !== this.arrays[name].count) throw new Error(`the saved ${name} is of other settings`);
      this.array(name).set(arrays[name]);
    }
  }
}
