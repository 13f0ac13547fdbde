// Runs tasks in Node: one line of JSON [task, input] in, one line out.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { TASKS } from "./tasks.mjs";

const folder = process.argv[2];
const { Engine } = await import(pathToFileURL(`${folder}/engine.js`));
const engine = await Engine.load(readFileSync(`${folder}/engine.wasm`));
for await (const line of createInterface({ input: process.stdin })) {
  const [task, input] = JSON.parse(line);
  try {
    console.log(JSON.stringify({ result: await TASKS[task](engine, input) }));
  } catch (error) {
    console.log(JSON.stringify({ error: error.stack }));
  }
}
