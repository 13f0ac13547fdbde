// Form of the learner's settings, by the names of a run's configuration.
import { FACTS } from "./facts.js";

const LABELS = {
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
const BELOW = [["learning_steps_burnin", "learning_steps_total"], ["start_learn_threshold", "experience_size"]];
const MAX_LAYERS = 8;

export class SettingsForm {
  constructor(form, presets, activations) {
    Object.assign(this, { form, presets, activations });
    for (const holder of form.querySelectorAll("[data-group]")) {
      for (const [name, label] of Object.entries(LABELS[holder.dataset.group])) {
        const field = document.createElement("label");
        const input = Object.assign(document.createElement("input"), { type: "number", name, required: true });
        field.append(label, input);
        holder.append(field);
      }
    }
    for (const input of form.querySelectorAll("input[name]")) {
      const { type, minimum, maximum } = FACTS.limits[input.name];
      Object.assign(input, { min: minimum, max: maximum, step: type === "integer" ? 1 : "any" });
    }
    this.preset = form.querySelector("#preset");
    const order = Object.keys(presets).sort((a, b) => (b === FACTS.firstPreset) - (a === FACTS.firstPreset));
    this.preset.append(...order.map((name) => new Option(FACTS.presetNames[name] ?? name, name)), new Option("your own", ""));
    this.events = new EventTarget(); // "change": a visitor has changed a setting
    this.preset.addEventListener("change", () => {
      if (this.preset.value) this.show(presets[this.preset.value]);
      this.events.dispatchEvent(new Event("change"));
    });
    form.querySelector("#add-layer").addEventListener("click", () => { this.addLayer(10, activations[0]); this.changed(); });
    form.addEventListener("input", ({ target }) => { if (target.name || target.closest("#layers")) this.changed(); });
    this.show(presets[this.preset.value]);
  }

  changed() {
    this.preset.value = "";
    this.check();
    this.events.dispatchEvent(new Event("change"));
  }

  check() {
    for (const [name, other] of BELOW) {
      const [input, limit] = [this.input(name), this.input(other)];
      const label = LABELS.learning[other].toLowerCase();
      input.setCustomValidity(Number(input.value) < Number(limit.value) ? "" : `This must be less than “${label}”, ${limit.value}.`);
    }
    const empty = Number(this.input("patches_ahead").value) + Number(this.input("patches_behind").value) === 0;
    this.input("patches_ahead").setCustomValidity(empty ? "The network needs at least one cell ahead or behind." : "");
  }

  input(name) {
    return this.form.elements.namedItem(name);
  }

  /** Show settings, and the preset that they are. */
  show(settings) {
    this.base = settings;
    const isPreset = ([, preset]) => Object.keys(preset).every((name) => name === "seed" || JSON.stringify(preset[name]) === JSON.stringify(settings[name]));
    this.preset.value = Object.entries(this.presets).find(isPreset)?.[0] ?? "";
    for (const input of this.form.querySelectorAll("input[name]")) {
      input.value = settings[input.name];
    }
    this.check();
    this.form.querySelector("#layers").replaceChildren();
    settings.layers.forEach(([neurons, activation]) => this.addLayer(neurons, activation));
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
    line.append(count, kind, remove);
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
    const layers = [...this.form.querySelectorAll("#layers li")].map((line) => [Number(line.children[0].value), line.children[1].value]);
    return { ...this.base, ...Object.fromEntries(values), layers };
  }
}
