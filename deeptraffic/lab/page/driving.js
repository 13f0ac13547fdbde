// The road: who drives, what is shown of it, its keys and buttons, and policy files that are opened.
import { $, complain, mph, whole, worker } from "./dom.js";
import { FACTS } from "./facts.js";
import { RoadView } from "./road.js";

const MAX_FRAMES = 60; // played at once, after the page was hidden for a while

/**
 * "driver": another one was chosen; "theme": colours changed; "restart": a run begins; "ended": it has reached its last
 * frame; "trained" and "scored": that is done; and each message of the worker by its kind.
 */
export const events = new EventTarget();
const tell = (name, detail) => events.dispatchEvent(new CustomEvent(name, { detail }));

// --- colours --------------------------------------------------------------------------------------------------------

const prefersLight = matchMedia("(prefers-color-scheme: light)");
const themeName = () => document.documentElement.dataset.theme ?? (prefersLight.matches ? "light" : "dark");
export const view = new RoadView($("road"));
async function showTheme() {
  await view.setTheme(themeName());
  tell("theme");
}
prefersLight.addEventListener("change", showTheme);
$("theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = themeName() === "dark" ? "light" : "dark";
  showTheme();
});

// --- driving --------------------------------------------------------------------------------------------------------

const driving = worker("drive.js");
export const send = (message) => driving.postMessage(message);
export const files = {}; // policy files by the driver's name
export const names = { idle: "idle", trained: "your network" };
export let chosen = ""; // the driver's name
export let paused = matchMedia("(prefers-reduced-motion: reduce)").matches;
let [asked, waiting, due, last] = [0, false, 0, performance.now()];
const holding = new Set();
let hasEnded = false;

for (const { name, otherAgents, algorithm } of FACTS.champions) {
  names[name] = name;
  $("champions").append(new Option(`${name}: ${algorithm}${otherAgents ? `, ${otherAgents} other agents` : ""}`, name));
}
$("pace").append(...Object.keys(FACTS.paces).map((name) => new Option(name)));
$("pace").value = "normal";

export async function policyFile(name) {
  if (!files[name] && FACTS.champions.some((each) => each.name === name)) {
    const answer = await fetch(`champions/${name}.safetensors`);
    if (!answer.ok) throw new Error(`${name} could not be loaded`);
    files[name] = new Uint8Array(await answer.arrayBuffer());
  }
  return files[name];
}

/** Let a driver take the wheel; `isNews`: the same driver's network has learned. */
export async function drive(name, isNews = false) {
  const id = ++asked;
  try {
    const file = await policyFile(name);
    if (id !== asked) return;
    send({ kind: "driver", id, name, file, action: 0 });
    [chosen, $("driver").value] = [name, name];
    $("pad").hidden = name !== "keys";
    tell("driver", { isNews });
    if (!isNews) complain("");
  } catch (error) {
    complain(error.message);
  }
}

function showFrame(frame) {
  view.draw(frame);
  $("speed").textContent = frame.speed;
  $("mean").textContent = mph(frame.mean);
  $("passed").textContent = frame.passed;
  $("frame").textContent = whole(frame.frame);
}

driving.onmessage = ({ data }) => {
  tell(data.kind, data);
  if (data.kind === "frame") {
    waiting = false;
    showFrame(data);
    if (data.hasEnded && !hasEnded) tell("ended", data);
    hasEnded = data.hasEnded;
  } else if (data.kind === "error") {
    complain(data.message);
    if (opened) forget(opened);
  } else if (data.kind === "driving") {
    opened = "";
  }
};

/** Play frames; "frame" tells when. */
export function advance(frames) {
  waiting = true;
  send({ kind: "advance", frames });
}

function tick(now) {
  due = Math.min(due + (now - last) * 0.06 * FACTS.paces[$("pace").value], MAX_FRAMES);
  last = now;
  if (paused || holding.size || hasEnded) due = 0;
  if (due >= 1 && !waiting && chosen) {
    advance(Math.floor(due));
    due -= Math.floor(due);
  }
  requestAnimationFrame(tick);
}

/** Let nothing move while somebody has a reason for that. */
export function hold(reason, isOn) {
  if (isOn) holding.add(reason);
  else holding.delete(reason);
}

export function restart(seed) {
  send({ kind: "restart", seed });
  tell("restart");
}

export function pause(wanted) {
  paused = wanted;
  $("pause").textContent = paused ? "Drive on" : "Pause";
  $("pause").setAttribute("aria-pressed", paused);
}

$("driver").addEventListener("change", async () => { await drive($("driver").value); if (chosen === "keys") $("road").focus(); });
$("pause").addEventListener("click", () => pause(!paused));
$("step").addEventListener("click", () => { pause(true); advance(1); });
$("overlay").addEventListener("change", () => send({ kind: "overlay", name: $("overlay").value }));
$("seed").value = FACTS.firstSeed;
$("restart").addEventListener("submit", (event) => {
  event.preventDefault();
  restart(Number($("seed").value));
});

// --- keys and touch ---

const isTyping = (target) => target.closest?.("input, select, textarea, button, summary, a");
const steer = (kind, name) => send({ kind, action: FACTS.keys[name] });
for (const [type, kind] of [["keydown", "press"], ["keyup", "release"]]) {
  document.addEventListener(type, (event) => {
    const name = event.key.replace("Arrow", "").toLowerCase();
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (chosen === "keys" && name in FACTS.keys && (kind === "release" || !isTyping(event.target))) {
      if (kind === "press") event.preventDefault();
      if (!event.repeat) steer(kind, name);
    } else if (kind === "press" && event.key === " " && !isTyping(event.target)) {
      event.preventDefault();
      pause(!paused);
    }
  });
}
for (const button of $("pad").children) {
  const { key } = button.dataset;
  button.addEventListener("pointerdown", (event) => { button.setPointerCapture(event.pointerId); steer("press", key); });
  for (const type of ["pointerup", "pointercancel"]) button.addEventListener(type, () => steer("release", key));
  button.addEventListener("click", ({ detail }) => { if (detail === 0) { steer("press", key); steer("release", key); } });
}

// --- opening a file ---

let opened = ""; // the driver whose file has not driven yet

function forget(name) {
  delete files[name];
  $("driver").querySelector(`option[value="${CSS.escape(name)}"]`)?.remove();
  opened = "";
  drive(FACTS.champions[0].name, true);
}

/** Let a policy file drive that is not one of the page's own. */
export function driveFile(content, label) {
  const name = `file ${Object.keys(files).length}`;
  files[name] = content;
  names[name] = label;
  $("yours").append(new Option(label, name));
  opened = name;
  drive(name);
}

async function open(file) {
  if (!file) return;
  if (file.size > 64e6) return complain(`${file.name} is larger than 64 MB: this is no policy file.`);
  if (file.name.endsWith(".safetensors")) return driveFile(new Uint8Array(await file.arrayBuffer()), file.name);
  events.dispatchEvent(new CustomEvent("open", { detail: file })); // the original game's, or everything
}

$("file").addEventListener("change", ({ target }) => { open(target.files[0]); target.value = ""; });
let inside = 0;
const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
document.addEventListener("dragenter", (event) => { if (hasFiles(event)) { inside += 1; $("drop").hidden = false; } });
document.addEventListener("dragleave", (event) => { if (hasFiles(event)) { inside -= 1; $("drop").hidden = inside > 0 ? false : true; } });
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  [inside, $("drop").hidden] = [0, true];
  open(event.dataTransfer.files[0]);
});

// --- start ----------------------------------------------------------------------------------------------------------

showTheme();
pause(paused);
drive(FACTS.champions[0].name);
requestAnimationFrame(tick);
