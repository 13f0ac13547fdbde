// Worker that trains: one learner, which stops and goes on.
import { Engine } from "./engine.js";
import { keep, kept } from "./store.js";

const REPORT_MS = 120;
const NETWORK_MS = 600;
const KEEP_MS = 2000;
const loaded = Engine.load();
let engine, learner, stopping, total, label, random;
let isKeeping = false;

/** All that the training's future depends on, and its network. */
const network = () => learner.policyFile(label, random);
const facts = () => ({ done: learner.decisions, total, settings: learner.settings, random, file: network() });
const saved = () => ({ digest: engine.layout.digest, label, ...facts(), ...learner.save() });

function replaceLearner(settings) {
  learner?.release();
  learner = undefined;
  learner = engine.learner(settings);
}

/** Go on from what was saved. */
function restore(record) {
  if (record.digest !== engine.layout.digest) { // of another version of the page: the network is left
    const { done, total: planned, settings, random: its, file } = record;
    return { done, total: planned, settings, random: its, file, isOver: true };
  }
  const next = engine.learner(record.settings);
  try {
    next.restore(record);
  } catch (error) {
    next.release();
    throw error;
  }
  learner?.release();
  [learner, total, label, random] = [next, record.total, record.label, record.random];
  return facts();
}

async function keepLearner() {
  if (isKeeping) return;
  isKeeping = true;
  await keep("learner", saved());
  isKeeping = false;
  postMessage({ kind: "kept" });
}

async function train({ settings, decisions, label: name, random: its }) {
  engine ??= await loaded;
  if (settings) {
    replaceLearner(settings);
    random = its;
  }
  [total, label] = [learner.decisions + decisions, name];
  let [reported, shown, before, keptAt] = [performance.now(), 0, learner.decisions, performance.now()];
  const tell = (done) => {
    const now = performance.now();
    if (now - reported < REPORT_MS && done < total) return;
    const perSecond = 1000 * (done - before) / Math.max(now - reported, 1);
    postMessage({ kind: "progress", done, total, perSecond, ...learner.metrics() });
    [reported, before] = [now, done];
    if (now - keptAt >= KEEP_MS) {
      keptAt = now;
      keepLearner();
    }
    if (now - shown < NETWORK_MS) return;
    shown = now;
    postMessage({ kind: "network", file: network() });
  };
  stopping = new AbortController();
  try {
    await learner.train(total, { onProgress: tell, signal: stopping.signal });
  } catch (error) {
    if (error.name !== "AbortError") throw error;
  }
  postMessage({ kind: "done", ...facts() });
  while (isKeeping) await new Promise((resolve) => setTimeout(resolve, 20));
  await keepLearner();
}

// What the page asks for besides; each answer has the number of its question.
const ANSWERS = {
  convert: async ({ weights, given }) => engine.policyFromConvNetJS(JSON.parse(await weights.text()), given),
  weights: ({ file }) => engine.weightsForConvNetJS(file),
  save: () => learner ? saved() : null,
  restore: async ({ saved: record }) => {
    const restored = restore(record);
    await keep("learner", record);
    return restored;
  },
};

onmessage = async ({ data }) => {
  if (data.kind === "stop") return stopping?.abort();
  if (data.kind in ANSWERS) {
    try {
      engine ??= await loaded;
      postMessage({ kind: "answer", id: data.id, value: await ANSWERS[data.kind](data) });
    } catch (error) {
      postMessage({ kind: "answer", id: data.id, error: error.message });
    }
    return;
  }
  try {
    await train(data);
  } catch (error) {
    postMessage({ kind: "error", message: error.message, canGoOn: Boolean(learner) });
  }
};

/** Start with what was kept, if there is anything. */
async function begin() {
  engine = await loaded;
  const record = await kept("learner");
  let restored = null;
  try {
    if (record) restored = restore(record);
  } catch { /* it is damaged */ }
  postMessage({ kind: "presets", presets: engine.presets, activations: Object.keys(engine.layout.deepqlearn.activations), restored });
}
begin();
