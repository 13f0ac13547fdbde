// Runs tasks in a browser's worker: messages [task, input] in, { result } or { error } out.
import { Engine } from "/lab/engine.js";
import { TASKS } from "/tests/tasks.mjs";

const loaded = Engine.load();
onmessage = async ({ data: [task, input] }) => {
  try {
    postMessage({ result: await TASKS[task](await loaded, input) });
  } catch (error) {
    postMessage({ error: error.stack });
  }
};
