// Worker that trains: one learner, which stops and goes on.
import { Engine } from "./engine.js";

const REPORT_MS = 120;
const NETWORK_MS = 600;
const loaded = Engine.load();
let engine, learner, stopping;

async function train({ settings, decisions, label }) {
  engine ??= await loaded;
  if (settings) {
    learner?.release();
    learner = undefined;
    learner = engine.learner(settings);
  }
  const total = learner.decisions + decisions;
  let [reported, shown, before] = [performance.now(), 0, learner.decisions];
  const tell = (done) => {
    const now = performance.now();
    if (now - reported < REPORT_MS && done < total) return;
    const perSecond = 1000 * (done - before) / Math.max(now - reported, 1);
    postMessage({ kind: "progress", done, total, perSecond, ...learner.metrics() });
    [reported, before] = [now, done];
    if (now - shown < NETWORK_MS) return;
    shown = now;
    postMessage({ kind: "network", file: learner.policyFile(label) });
  };
  stopping = new AbortController();
  try {
    await learner.train(total, { onProgress: tell, signal: stopping.signal });
  } catch (error) {
    if (error.name !== "AbortError") throw error;
  }
  postMessage({ kind: "done", done: learner.decisions, total, file: learner.policyFile(label) });
}

// What the page asks for besides; each answer has the number of its question.
const ANSWERS = {
  convert: ({ weights, given }) => engine.policyFromConvNetJS(JSON.parse(weights), given),
  weights: ({ file }) => engine.weightsForConvNetJS(file),
};

onmessage = async ({ data }) => {
  if (data.kind === "stop") return stopping?.abort();
  if (data.kind in ANSWERS) {
    try {
      engine ??= await loaded;
      postMessage({ kind: "answer", id: data.id, value: ANSWERS[data.kind](data) });
    } catch (error) {
      postMessage({ kind: "answer", id: data.id, error: error.message });
    }
    return;
  }
  try {
    await train(data);
  } catch (error) {
    postMessage({ kind: "error", message: error.message });
  }
};
loaded.then((ready) => postMessage({ kind: "presets", presets: ready.presets, activations: Object.keys(ready.layout.deepqlearn.activations) }));
