// Worker that evaluates: the official runs of a policy file, or of an action that is always taken.
import { Engine } from "./engine.js";

const REPORT_MS = 100;
const loaded = Engine.load();
let stopping;

onmessage = async ({ data }) => {
  if (data.kind === "stop") return stopping?.abort();
  const engine = await loaded;
  stopping = new AbortController();
  let [policy, reported] = [undefined, 0];
  const started = performance.now();
  const onProgress = (done, total, scores) => {
    if (performance.now() - reported < REPORT_MS) return;
    reported = performance.now();
    postMessage({ kind: "progress", done, total, scores });
  };
  try {
    policy = data.file ? engine.policy(data.file) : undefined;
    const result = await engine.evaluate(policy ?? data.action, { onProgress, signal: stopping.signal });
    postMessage({ kind: "result", ...result, otherAgents: policy?.manifest.other_agents ?? 0, seconds: (performance.now() - started) / 1000 });
  } catch (error) {
    if (error.name === "AbortError") postMessage({ kind: "stopped" });
    else postMessage({ kind: "error", message: error.message });
  } finally {
    policy?.release();
  }
};
