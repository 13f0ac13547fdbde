// The original page's code text: written from settings, and run in a sandbox as settings and weights, which are data.
import { FACTS } from "./facts.js";

const MOST_CHARACTERS = 16 * 1024 * 1024;
const MOST_ANSWER = 1_000_000; // characters of settings
const MOST_MS = 10_000; // of running code
const MOST_START_MS = 60_000; // of the sandbox
const NAMES = { // of the learner's settings in the code
  game: { lanesSide: "lanes_side", patchesAhead: "patches_ahead", patchesBehind: "patches_behind", trainIterations: "total_timesteps", otherAgents: "other_agents" },
  brain: ["temporal_window", "experience_size", "start_learn_threshold", "gamma", "learning_steps_total", "learning_steps_burnin", "epsilon_min"],
  trainer: ["learning_rate", "momentum", "batch_size", "l2_decay", "l1_decay"],
};
const MARK = "/*###########*/"; // above the weights, as the original page saves a file

// --- writing --------------------------------------------------------------------------------------------------------

/** A number as Python and the original write it: 0.0 stays a fraction. */
const fraction = (value) => Number.isInteger(value) ? value.toFixed(1) : String(value);
const hiddenLayers = (layers) => layers.map(([neurons, activation]) => `layer_defs.push({
    type: 'fc',
    num_neurons: ${neurons},
    activation: '${activation}'
});
`).join("");

/** The code of settings, as the original page's own. */
export function codeOf(s) {
  return `
// a few things don't have var in front of them - they update already existing variables the game needs
lanesSide = ${s.lanes_side};
patchesAhead = ${s.patches_ahead};
patchesBehind = ${s.patches_behind};
trainIterations = ${s.total_timesteps};

// the number of other autonomous vehicles controlled by your network
otherAgents = ${s.other_agents}; // max of 10

var num_inputs = (lanesSide * 2 + 1) * (patchesAhead + patchesBehind);
var num_actions = 5;
var temporal_window = ${s.temporal_window};
var network_size = num_inputs * temporal_window + num_actions * temporal_window + num_inputs;

var layer_defs = [];
layer_defs.push({
    type: 'input',
    out_sx: 1,
    out_sy: 1,
    out_depth: network_size
});
${hiddenLayers(s.layers)}layer_defs.push({
    type: 'regression',
    num_neurons: num_actions
});

var tdtrainer_options = {
    learning_rate: ${fraction(s.learning_rate)},
    momentum: ${fraction(s.momentum)},
    batch_size: ${s.batch_size},
    l2_decay: ${fraction(s.l2_decay)}${s.l1_decay ? `,\n    l1_decay: ${fraction(s.l1_decay)}` : ""}
};

var opt = {};
opt.temporal_window = temporal_window;
opt.experience_size = ${s.experience_size};
opt.start_learn_threshold = ${s.start_learn_threshold};
opt.gamma = ${fraction(s.gamma)};
opt.learning_steps_total = ${s.learning_steps_total};
opt.learning_steps_burnin = ${s.learning_steps_burnin};
opt.epsilon_min = ${fraction(s.epsilon_min)};
opt.epsilon_test_time = 0.0;
opt.layer_defs = layer_defs;
opt.tdtrainer_options = tdtrainer_options;

brain = new deepqlearn.Brain(num_inputs, num_actions, opt);

learn = function (state, lastReward) {
    brain.backward(lastReward);
    var action = brain.forward(state);

    draw_net();
    draw_stats();

    return action;
}
`.slice(1);
}

/** The code with other settings in the same lines; where they have none of their own, it may still say the old ones. */
export function changeCode(code, before, after) {
  const changed = (name) => before[name] !== after[name];
  const put = (pattern, value) => { code = code.replace(pattern, (_, start) => start + value); };
  for (const [name, setting] of Object.entries(NAMES.game)) {
    if (changed(setting)) put(new RegExp(`^(\\s*(?:var\\s+)?${name}\\s*=\\s*)[^;\\n/]+`, "m"), after[setting]);
  }
  for (const name of NAMES.brain) if (changed(name)) put(new RegExp(`^(\\s*(?:var\\s+|opt\\.)${name}\\s*=\\s*)(?!temporal_window)[^;\\n/]+`, "m"), after[name]);
  for (const name of NAMES.trainer) if (changed(name)) put(new RegExp(`(\\b${name}['"]?\\s*:\\s*)[\\d.eE+-]+`), fraction(after[name]));
  if (JSON.stringify(before.layers) !== JSON.stringify(after.layers)) {
    const between = /(layer_defs\.push\(\{\s*type\s*:\s*['"]input['"][^}]*\}\);?\s*?\n)[\s\S]*?(?=layer_defs\.push\(\{\s*type\s*:\s*['"]regression)/;
    put(between, hiddenLayers(after.layers));
  }
  return code;
}

/** The code and the weights of a file, and a file of them. */
export function withoutWeights(text) {
  const at = text.indexOf(MARK);
  const code = at < 0 ? text : text.slice(0, at);
  return code.replace(/\bif\s*\(brain\)\s*\{\s*brain\.value_net\.fromJSON\(\{\s*"layers"[^;]*?\}\s*\);?\s*\}/g, "").trimEnd() + "\n";
}
export const withWeights = (code, weights) => `${code.trimEnd()}\n\n${MARK}\nif (brain) {\nbrain.value_net.fromJSON(${weights});\n}\n`;
export const hasWeights = (text) => text.includes(".fromJSON(");

// --- running --------------------------------------------------------------------------------------------------------

/** Stands before the code, in the sandbox: the parts of the original page that a file uses. */
function prepare() {
  postMessage([]);
  const anything = new Proxy(function () {}, {
    get: (_, name) => name === Symbol.toPrimitive ? () => 0 : anything,
    set: () => true, apply: () => anything, construct: () => anything,
  });
  class Brain {
    constructor(inputs, actions, opt = {}) {
      const size = opt.experience_size ?? 30000;
      const usual = { // of the library
        temporal_window: 1, experience_size: 30000, start_learn_threshold: Math.floor(Math.min(size * 0.1, 1000)), gamma: 0.8,
        learning_steps_total: 100000, learning_steps_burnin: 3000, epsilon_min: 0.05, epsilon_test_time: 0.01, random_action_distribution: [],
        tdtrainer_options: { learning_rate: 0.01, momentum: 0.0, batch_size: 64, l2_decay: 0.01 },
      };
      Object.assign(this, usual, opt, { num_inputs: inputs, num_actions: actions });
      this.value_net = { fromJSON: (json) => { this.value_net.weights = json; }, toJSON: () => this.value_net.weights ?? {} };
    }
    backward() {}
    forward() { return 0; }
  }
  const nothing = () => {};
  for (const name of ["document", "$", "jQuery", "localStorage", "screen", "convnetjs", "cnnutil", "parent", "top", "frames"]) {
    try { self[name] = anything; } catch { /* it stays as it is */ }
  }
  Object.assign(self, { window: self, deepqlearn: { Brain }, draw_net: nothing, draw_stats: nothing, alert: nothing });
  for (const name of Object.keys(console)) console[name] = nothing;
}

/** Stands behind the code, in the sandbox: answers with what it has set, and with the weights, both as JSON. */
function conclude({ brain, learn, ...game }) {
  const answer = { game };
  let weights = null;
  if (typeof brain !== "object" || brain === null || !brain.value_net) {
    answer.wrong = "there is no brain = new deepqlearn.Brain(num_inputs, num_actions, opt)";
  } else {
    const { value_net: network, ...settings } = brain;
    const { out_depth: depth, out_sx: width = 1, out_sy: height = 1 } = network.weights?.layers?.[0] ?? {};
    Object.assign(answer, { brain: settings, inputs: depth * width * height });
    if (network.weights) weights = new Blob([JSON.stringify(network.weights)]); // large, but handed on by reference
    const asks = (action) => {
      const asked = [];
      const state = Array.from({ length: Math.min(brain.num_inputs, 100000) || 0 }, (_, k) => (k % 7) / 7);
      const before = state.slice();
      brain.forward = (given) => { asked.push(given); return action; };
      return learn(state, 0.5) === action && asked.length === 1 && asked[0] === state && before.every((value, k) => value === state[k]);
    };
    try {
      if (typeof learn !== "function") answer.wrong = "there is no learn = function (state, lastReward) {...}";
      else if (![0, 1, 2, 3, 4].every(asks)) answer.wrong = "learn(...) must answer with brain.forward(state) and leave the state alone: the network alone drives";
    } catch (error) {
      answer.wrong = `learn(...) fails: ${error.message}`;
    }
    delete answer.brain.forward;
  }
  postMessage([JSON.stringify(answer), weights]);
}

const KNOWN = [...Object.keys(NAMES.game), "brain", "learn"];
const BEFORE = `(${prepare})();\n`;
const AFTER = `\n;(${conclude})({ ${KNOWN.map((name) => `${name}: typeof ${name} === "undefined" ? null : ${name}`).join(", ")} });`;
const LINES_BEFORE = BEFORE.split("\n").length - 1;
let sandbox;

/** Run code, a blob, in a frame without origin, which reaches nothing; what it answers is [text, blob or null]. */
async function runInSandbox(script) {
  sandbox ??= await (await fetch("sandbox.js")).text();
  const policy = `default-src 'none'; script-src '${FACTS.sandbox}' blob:; worker-src blob:`;
  const frame = document.createElement("iframe");
  frame.setAttribute("sandbox", "allow-scripts");
  Object.assign(frame, { hidden: true, title: "Sandbox of your code" });
  frame.srcdoc = `<!doctype html><meta http-equiv="Content-Security-Policy" content="${policy}"><script>${sandbox}</script>`;
  let listen, timer;
  try {
    const [answer, weights] = await new Promise((resolve, reject) => {
      const within = (ms, sentence) => { clearTimeout(timer); timer = setTimeout(() => reject(new Error(sentence)), ms); };
      const steps = [
        () => frame.contentWindow.postMessage(script, "*"), // it is ready
        () => within(MOST_MS, `the code runs longer than ${MOST_MS / 1000} s`), // the code starts
      ];
      listen = ({ source, data }) => {
        if (source !== frame.contentWindow || !Array.isArray(data)) return;
        if (data.length === 0) steps.shift()?.();
        else resolve([String(data[0]), data[1] instanceof Blob ? data[1] : null]);
      };
      addEventListener("message", listen);
      within(MOST_START_MS, "the sandbox of the code does not start; try again");
      document.body.append(frame);
    });
    // A blob's bytes may still be with the frame, and would be lost with it.
    return [answer, weights && new Blob([await weights.arrayBuffer()])];
  } finally {
    removeEventListener("message", listen);
    clearTimeout(timer);
    frame.remove();
  }
}

// --- reading --------------------------------------------------------------------------------------------------------

function number(name, value, limits = FACTS.limits[name]) {
  const { type, minimum, maximum } = limits;
  if (typeof value !== "number" || value < minimum || value > maximum || (type === "integer" && !Number.isInteger(value))) {
    throw new Error(`${name} must be ${type === "integer" ? "an integer" : "a number"} in [${minimum}, ${maximum}], got ${JSON.stringify(value)}`);
  }
  return value;
}

/** How the network of a file drives: what it sees, and its random actions. */
function drivingOf({ game, brain, inputs }) {
  const named = Object.entries(NAMES.game).filter(([, name]) => name !== "total_timesteps");
  const given = Object.fromEntries(named.map(([name, setting]) => [setting, number(name, game[name] ?? (name === "otherAgents" ? 0 : null), FACTS.limits[setting])]));
  given.temporal_window = number("temporal_window", brain.temporal_window);
  if (brain.num_actions !== 5) throw new Error(`num_actions must be 5, got ${JSON.stringify(brain.num_actions)}`);
  const cells = (2 * given.lanes_side + 1) * (given.patches_ahead + given.patches_behind);
  if (brain.num_inputs !== cells && inputs > cells) {
    throw new Error(`the Brain is built for ${brain.num_inputs} inputs, but what the car sees has ${cells}`);
  }
  given.epsilon = Math.min(1, Math.max(0, number("epsilon_test_time", brain.epsilon_test_time, { type: "number", minimum: -Infinity, maximum: Infinity })));
  const chances = brain.random_action_distribution ?? [];
  const isFine = Array.isArray(chances) && [0, 5].includes(chances.length) && chances.every((each) => typeof each === "number" && each >= 0 && each <= 1);
  if (!isFine) throw new Error("random_action_distribution must be five probabilities, one per action");
  given.random_actions = given.epsilon > 0 ? chances : [];
  return given;
}

/** The learner's settings of a file; an error where the learner has none like them. */
function learningOf({ game, brain }, driving) {
  const { epsilon, random_actions: _, ...seen } = driving;
  const settings = { ...seen, total_timesteps: number("trainIterations", game.trainIterations, FACTS.limits.total_timesteps) };
  for (const name of NAMES.brain.slice(1)) settings[name] = number(name, brain[name]);
  const trainer = { learning_rate: 0.01, momentum: 0.9, batch_size: 1, l2_decay: 0, l1_decay: 0, method: "sgd", ...brain.tdtrainer_options };
  if (trainer.method !== "sgd") throw new Error(`the trainer's method must be sgd, got ${JSON.stringify(trainer.method)}`);
  for (const name of NAMES.trainer) settings[name] = number(name, trainer[name]);
  const layers = Array.isArray(brain.layer_defs) ? brain.layer_defs : [];
  const [first, last] = [layers[0]?.type, layers.at(-1)?.type];
  if (first !== "input" || last !== "regression") throw new Error("layer_defs must begin with an input and end with a regression layer");
  settings.layers = layers.slice(1, -1).map(({ type, num_neurons: neurons, activation, drop_prob: drop }) => {
    if (type !== "fc" || !FACTS.activations.includes(activation) || drop) {
      throw new Error(`hidden layers must be of type fc with the activation ${FACTS.activations.join(", ")}, got ${JSON.stringify([type, activation])}`);
    }
    return [number("num_neurons", neurons, { type: "integer", minimum: 1, maximum: 4096 }), activation];
  });
  return settings;
}

/**
 * Run code: { driving, weights, learning, cannotLearn }. `weights` is a blob of ConvNetJS's JSON, null where there
 * are none; where the learner cannot train with these settings, `learning` is null and `cannotLearn` says why. An error
 * where it cannot even drive.
 */
export async function readCode(text) {
  if (text.length > MOST_CHARACTERS) throw new Error(`the code has ${text.length} characters; at most ${MOST_CHARACTERS} are read`);
  const [json, weights] = await runInSandbox(new Blob([BEFORE, text, AFTER], { type: "text/javascript" }));
  if (json.length > MOST_ANSWER) throw new Error("the code sets more than settings");
  const answer = JSON.parse(json);
  if (answer.error) {
    const line = answer.line - LINES_BEFORE;
    const place = line > 0 && line <= text.split("\n").length ? `line ${line}: ` : "";
    throw new Error(place + String(answer.error).replace(/^Uncaught /, ""));
  }
  if (answer.wrong) throw new Error(String(answer.wrong));
  const driving = drivingOf(answer);
  try {
    return { driving, weights, learning: learningOf(answer, driving), cannotLearn: "" };
  } catch (error) {
    return { driving, weights, learning: null, cannotLearn: error.message };
  }
}
