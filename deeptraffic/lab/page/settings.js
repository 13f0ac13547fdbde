// Form of a learner's settings, by the names of a run's configuration.
import { FACTS } from "./facts.js";

const DEEPQLEARN = {
  input: {
    lanes_side: "Lanes to each side", patches_ahead: "Cells ahead", patches_behind: "Cells behind",
    temporal_window: "Earlier decisions", other_agents: "Other agents",
  },
  learning: {
    gamma: "Discount (gamma)", learning_rate: "Learning rate", momentum: "Momentum", batch_size: "Batch size", l2_decay: "L2 decay", l1_decay: "L1 decay",
    experience_size: "Replay memory", start_learn_threshold: "Learn after", learning_steps_burnin: "Random until decision",
    learning_steps_total: "Exploration ends at", epsilon_min: "Exploration after that",
  },
};
const PQN = {
  input: {
    kind: ["The network reads", { gaps: "gaps of lanes", vector: "cells" }],
    lanes_side: "Lanes to each side", patches_ahead: "Cells ahead", patches_behind: "Cells behind", other_agents: "Other agents",
  },
  learning: {
    gamma: "Discount (gamma)", q_lambda: "Weight of longer returns (lambda)", learning_rate: "Learning rate", learning_rate_end: "Learning rate at the end",
    num_envs: "Roads at once", n_steps: "Decisions of each in a round", batch_size: "Batch size", n_epochs: "Passes over a round",
    exploration_initial_eps: "Exploration at the start", exploration_final_eps: "Exploration later", exploration_fraction: "Part of training until then",
    activation: ["Activation", { relu: "relu", tanh: "tanh" }], layer_norm: ["Normalise layers", { true: "yes", false: "no" }],
    max_grad_norm: "Largest gradient", max_steps: "Decisions of an episode",
  },
};
const LEARNERS = { deepqlearn: { labels: DEEPQLEARN, limits: FACTS.limits }, pqn: { labels: PQN, limits: FACTS.pqnLimits } };
const BELOW = [["learning_steps_burnin", "learning_steps_total"], ["start_learn_threshold", "experience_size"]];
const MAX_LAYERS = 8;
const MOST_IN_A_ROUND = 65_536; // decisions, of PQN

export const algoOf = (settings) => settings.algo ?? "deepqlearn";

export class SettingsForm {
  constructor(form, presets, activations) {
    Object.assign(this, { form, presets, activations });
    this.preset = form.querySelector("#preset");
    this.learner = form.querySelector("#learner");
    const order = Object.keys(presets).sort((a, b) => (b === FACTS.firstPreset) - (a === FACTS.firstPreset));
    for (const { value, text } of this.learner.options) {
      const group = Object.assign(document.createElement("optgroup"), { label: text });
      const names = order.filter((name) => algoOf(presets[name]) === value);
      group.append(...names.map((name) => new Option(FACTS.presetNames[name] ?? name, name)));
      this.preset.append(group);
    }
    this.preset.append(new Option("your own", ""));
    this.learner.addEventListener("change", () => {
      this.show(presets[order.find((name) => algoOf(presets[name]) === this.learner.value)]);
      this.events.dispatchEvent(new Event("change"));
    });
    this.events = new EventTarget(); // "change": a visitor has changed a setting
    this.preset.addEventListener("change", () => {
      if (this.preset.value) this.show(presets[this.preset.value]);
      this.events.dispatchEvent(new Event("change"));
    });
    form.querySelector("#add-layer").addEventListener("click", () => { this.addLayer(10, activations[0]); this.changed(); });
    form.addEventListener("input", ({ target }) => { if (target.name || target.closest("#layers")) this.changed(); });
    this.show(presets[this.preset.value]);
  }

  get algo() {
    return algoOf(this.base);
  }

  /** Make the fields of a learner. */
  build(algo) {
    this.built = algo;
    const { labels, limits } = LEARNERS[algo];
    this.form.dataset.learner = algo;
    for (const holder of this.form.querySelectorAll("[data-group]")) {
      holder.replaceChildren(...Object.entries(labels[holder.dataset.group]).map(([name, label]) => {
        const [text, choices] = typeof label === "string" ? [label] : label;
        const input = Object.assign(document.createElement(choices ? "select" : "input"), { name, required: true });
        if (choices) input.append(...Object.entries(choices).map(([value, shown]) => new Option(shown, value)));
        else input.type = "number";
        const field = document.createElement("label");
        field.append(text, input);
        return field;
      }));
    }
    for (const input of this.form.querySelectorAll("input[name]")) {
      const { type, minimum, maximum } = limits[input.name];
      Object.assign(input, { min: minimum, max: maximum, step: type === "integer" ? 1 : "any" });
    }
  }

  changed() {
    this.preset.value = "";
    this.check();
    this.events.dispatchEvent(new Event("change"));
  }

  check() {
    if (this.algo === "pqn") this.checkRound();
    for (const [name, other] of this.algo === "pqn" ? [] : BELOW) {
      const [input, limit] = [this.input(name), this.input(other)];
      const label = DEEPQLEARN.learning[other].toLowerCase();
      input.setCustomValidity(Number(input.value) < Number(limit.value) ? "" : `This must be less than “${label}”, ${limit.value}.`);
    }
    const empty = Number(this.input("patches_ahead").value) + Number(this.input("patches_behind").value) === 0;
    this.input("patches_ahead").setCustomValidity(empty ? "The network needs at least one cell ahead or behind." : "");
  }

  checkRound() {
    const [envs, steps, batch] = ["num_envs", "n_steps", "batch_size"].map((name) => this.input(name));
    const decisions = Number(envs.value) * Number(steps.value);
    envs.setCustomValidity(decisions <= MOST_IN_A_ROUND ? "" : `Roads and decisions of each make a round of ${decisions}; at most ${MOST_IN_A_ROUND} fit.`);
    batch.setCustomValidity(Number(batch.value) <= decisions ? "" : `A batch must not be larger than a round of ${decisions} decisions.`);
  }

  input(name) {
    return this.form.elements.namedItem(name);
  }

  /** Show settings, and the preset that they are. */
  show(settings) {
    this.base = settings;
    if (this.built !== this.algo) this.build(this.algo);
    this.learner.value = this.algo;
    const isPreset = ([, preset]) => Object.keys(preset).every((name) => name === "seed" || JSON.stringify(preset[name]) === JSON.stringify(settings[name]));
    this.preset.value = Object.entries(this.presets).find(isPreset)?.[0] ?? "";
    for (const input of this.form.querySelectorAll("input[name], select[name]")) {
      input.value = settings[input.name];
    }
    this.check();
    this.form.querySelector("#layers").replaceChildren();
    (settings.layers ?? settings.hidden.map((units) => [units])).forEach(([neurons, activation]) => this.addLayer(neurons, activation));
  }

  addLayer(neurons, activation) {
    const list = this.form.querySelector("#layers");
    if (list.children.length >= MAX_LAYERS) return;
    const line = document.createElement("li");
    const count = Object.assign(document.createElement("input"), { type: "number", min: 1, max: 4096, value: neurons, required: true });
    count.setAttribute("aria-label", "Neurons");
    const kind = document.createElement("select");
    kind.setAttribute("aria-label", "Activation");
    kind.append(...this.activations.map((name) => new Option(name)));
    kind.value = activation;
    const remove = Object.assign(document.createElement("button"), { type: "button", textContent: "Remove" });
    remove.addEventListener("click", () => { line.remove(); this.changed(); });
    line.append(count, ...(this.algo === "pqn" ? [] : [kind]), remove);
    list.append(line);
  }

  /** The settings in the form, or null where one is impossible, which the browser then shows. */
  read() {
    const details = this.form.querySelector("details");
    if (!this.form.checkValidity()) details.open = true;
    return this.form.reportValidity() ? this.values() : null;
  }

  /** The settings in the form, or null where one is impossible. */
  values() {
    if (!this.form.checkValidity()) return null;
    const values = [...this.form.querySelectorAll("input[name]")].map((input) => [input.name, Number(input.value)]);
    const lines = [...this.form.querySelectorAll("#layers li")].map((line) => [Number(line.children[0].value), line.children[1].value]);
    const chosen = [...this.form.querySelectorAll("select[name]")].map(({ name, value }) => [name, typeof this.base[name] === "boolean" ? value === "true" : value]);
    const network = this.algo === "pqn" ? { hidden: lines.map(([units]) => units) } : { layers: lines };
    return { ...this.base, ...Object.fromEntries([...values, ...chosen]), ...network };
  }
}
