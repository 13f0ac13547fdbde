// What the learners of the module share.
import { writePolicyFile } from "./policy.js";

export const product = (numbers) => numbers.reduce((a, b) => a * b, 1);

/** A learner with `engine`, `settings`, `road`, `record`, `table`, `arrays`, `tally`, `params` and `decisions`. */
export class ModuleLearner {
  checkWeights() {
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

  /** A policy file of these layers and tensors; `seen`: the sensor and the temporal window. */
  writeFile(algorithm, { layers, tensors }, seen, { label, random, created }) {
    const { settings: s, engine } = this;
    const manifest = {
      format_version: engine.layout.file.format, rules: s.rules, other_agents: s.other_agents,
      observation: { kind: "vector", ...seen },
      layers, action: { rule: "argmax", seed: 0 }, ...random, label: label.slice(0, 100), author: "",
      training: { algorithm, decisions: this.decisions, gamma: s.gamma, seed: s.seed },
      created: `${created.toISOString().slice(0, 19)}Z`,
    };
    return writePolicyFile(manifest, tensors, engine.layout.file.key);
  }

  release() {
    for (const { address } of Object.values(this.arrays)) this.engine.release(address);
    for (const address of [this.table, this.record.address]) this.engine.release(address);
    this.road.release();
  }
}
