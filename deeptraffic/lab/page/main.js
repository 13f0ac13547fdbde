// The page: connects its controls with three workers, which drive, train and evaluate.
import { drawCurve, drawHistogram } from "./charts.js";
import { FACTS } from "./facts.js";
import { RoadView } from "./road.js";
import { SettingsForm } from "./settings.js";

const $ = (id) => document.getElementById(id);
const worker = (name) => new Worker(new URL(name, import.meta.url), { type: "module" });
const mph = (value) => value === null || value === undefined ? "–" : value.toFixed(1);
const whole = (value) => Math.round(value).toLocaleString("en");
const CHART_MS = 250;
const MAX_FRAMES = 60; // played at once, after the page was hidden for a while

function complain(text) {
  $("message").textContent = text;
  $("message").hidden = !text;
}

// --- colours --------------------------------------------------------------------------------------------------------

const prefersLight = matchMedia("(prefers-color-scheme: light)");
const themeName = () => document.documentElement.dataset.theme ?? (prefersLight.matches ? "light" : "dark");
const view = new RoadView($("road"));
const showTheme = () => view.setTheme(themeName());
prefersLight.addEventListener("change", showTheme);
$("theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = themeName() === "dark" ? "light" : "dark";
  showTheme();
});

// --- driving --------------------------------------------------------------------------------------------------------

const driving = worker("drive.js");
const files = {}; // policy files by the driver's name
const names = { idle: "idle", trained: "your network" };
let [chosen, asked, waiting, due, last] = ["", 0, false, 0, performance.now()];
let paused = matchMedia("(prefers-reduced-motion: reduce)").matches;

for (const { name, otherAgents, algorithm } of FACTS.champions) {
  names[name] = name;
  $("champions").append(new Option(`${name}: ${algorithm}${otherAgents ? `, ${otherAgents} other agents` : ""}`, name));
}
$("pace").append(...Object.keys(FACTS.paces).map((name) => new Option(name)));
$("pace").value = "normal";

async function policyFile(name) {
  if (!files[name] && FACTS.champions.some((each) => each.name === name)) {
    const answer = await fetch(`champions/${name}.safetensors`);
    if (!answer.ok) throw new Error(`${name} could not be loaded`);
    files[name] = new Uint8Array(await answer.arrayBuffer());
  }
  return files[name];
}

/** Let a driver take the wheel; `isNews`: the same driver's network has learned. */
async function drive(name, isNews = false) {
  const id = ++asked;
  try {
    const file = await policyFile(name);
    if (id !== asked) return;
    driving.postMessage({ kind: "driver", id, name, file, action: 0 });
    [chosen, $("driver").value] = [name, name];
    $("pad").hidden = name !== "keys";
    $("score").disabled = name === "keys" || scoring;
    $("scored-name").textContent = names[name] ?? "a driver";
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
  if (data.kind === "frame") {
    waiting = false;
    showFrame(data);
  } else if (data.kind === "error") {
    complain(data.message);
    if (opened) forget(opened);
  } else {
    opened = "";
  }
};

function advance(frames) {
  waiting = true;
  driving.postMessage({ kind: "advance", frames });
}

function tick(now) {
  due = Math.min(due + (now - last) * 0.06 * FACTS.paces[$("pace").value], MAX_FRAMES);
  last = now;
  if (paused) due = 0;
  if (due >= 1 && !waiting && chosen) {
    advance(Math.floor(due));
    due -= Math.floor(due);
  }
  requestAnimationFrame(tick);
}

function pause(wanted) {
  paused = wanted;
  $("pause").textContent = paused ? "Drive on" : "Pause";
  $("pause").setAttribute("aria-pressed", paused);
}

$("driver").addEventListener("change", async () => { await drive($("driver").value); if (chosen === "keys") $("road").focus(); });
$("pause").addEventListener("click", () => pause(!paused));
$("step").addEventListener("click", () => { pause(true); advance(1); });
$("overlay").addEventListener("change", () => driving.postMessage({ kind: "overlay", name: $("overlay").value }));
$("restart").addEventListener("submit", (event) => {
  event.preventDefault();
  driving.postMessage({ kind: "restart", seed: Number($("seed").value) });
});

// --- keys and touch ---

const isTyping = (target) => target.closest?.("input, select, textarea, button, summary, a");
const steer = (kind, name) => driving.postMessage({ kind, action: FACTS.keys[name] });
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

async function open(file) {
  if (!file) return;
  if (file.size > 64e6) return complain(`${file.name} is larger than 64 MB: this is no policy file.`);
  if (file.name.endsWith(".js")) return complain("The page opens policy files; make one of an original's .js by: deeptraffic import FILE.js");
  const name = `file ${Object.keys(files).length}`;
  files[name] = new Uint8Array(await file.arrayBuffer());
  names[name] = file.name;
  $("yours").append(new Option(file.name, name));
  opened = name;
  drive(name);
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

// --- training -------------------------------------------------------------------------------------------------------

const training = worker("train.js");
let [form, curve, drawn, inTraining] = [null, [], 0, false];

function showTraining(isOn) {
  inTraining = isOn;
  $("run").disabled = isOn;
  $("stop").disabled = !isOn;
  $("more").disabled = isOn || !files.trained;
  $("save").disabled = !files.trained;
}

function takeNetwork(file) {
  files.trained = file;
  const option = $("driver").querySelector('option[value="trained"]');
  [option.disabled, option.textContent] = [false, "Your network"];
  if ($("live").checked) drive("trained", true);
}

function drawCurves(total) {
  const now = performance.now();
  if (now - drawn < CHART_MS && inTraining) return;
  drawn = now;
  $("curves").hidden = false;
  const last = curve.at(-1);
  drawCurve($("speed-chart"), curve.map(({ done, mph: y }) => [done, y ?? NaN]), total, `Mean speed while exploring, last ${mph(last?.mph)} mph`);
  drawCurve($("loss-chart"), curve.map(({ done, loss }) => [done, loss ?? NaN]), total, `Loss, last ${last?.loss?.toPrecision(3) ?? "none"}`);
}

function start(message) {
  showTraining(true);
  $("train-status").textContent = "Training…";
  training.postMessage({ kind: "train", label: "trained in the lab", ...message });
}

training.onmessage = ({ data }) => {
  if (data.kind === "presets") {
    form = new SettingsForm($("settings"), data.presets, data.activations);
    showTraining(false);
  } else if (data.kind === "progress") {
    curve.push(data);
    $("train-progress").value = data.done / data.total;
    $("train-status").textContent = `${whole(data.done)} of ${whole(data.total)} decisions, ${whole(data.perSecond)} per second; `
      + `${mph(data.mph)} mph while exploring, loss ${data.loss?.toPrecision(3) ?? "–"}`;
    drawCurves(data.total);
  } else if (data.kind === "network") {
    takeNetwork(data.file);
  } else if (data.kind === "done") {
    takeNetwork(data.file);
    showTraining(false);
    drawCurves(data.done);
    const ended = data.done < data.total ? "Stopped after" : "Trained for";
    $("train-status").textContent = `${ended} ${whole(data.done)} decisions. Evaluate it below, save it, or train on.`;
  } else {
    showTraining(false);
    $("train-status").textContent = `Training failed: ${data.message}`;
  }
};

$("settings").addEventListener("submit", (event) => {
  event.preventDefault();
  const settings = form?.read();
  if (!settings) return;
  curve = [];
  start({ settings, decisions: settings.total_timesteps });
});
$("stop").addEventListener("click", () => training.postMessage({ kind: "stop" }));
$("more").addEventListener("click", () => start({ decisions: Number(form.input("total_timesteps").value) }));
$("live").addEventListener("change", () => { if ($("live").checked && files.trained) drive("trained"); });
$("save").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([files.trained], { type: "application/octet-stream" }));
  link.download = "network.safetensors";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
});

// --- evaluation -----------------------------------------------------------------------------------------------------

const evaluating = worker("evaluate.js");
let [scoring, scored] = [false, ""];
const yours = []; // [name, other agents, score]

function showKnown() {
  const rows = [...FACTS.known.map((row) => [...row, false]), ...yours.map((row) => [...row, true])].sort((a, b) => b[2] - a[2]);
  $("known").tBodies[0].replaceChildren(...rows.map(([name, otherAgents, score, isYours]) => {
    const line = document.createElement("tr");
    line.className = isYours ? "yours" : "";
    const head = Object.assign(document.createElement("th"), { scope: "row", textContent: name });
    const cells = [otherAgents, score.toFixed(2)].map((text) => Object.assign(document.createElement("td"), { className: "number", textContent: text }));
    line.append(head, ...cells);
    return line;
  }));
}

function showScoring(isOn) {
  scoring = isOn;
  $("score").disabled = isOn || chosen === "keys";
  $("score-stop").disabled = !isOn;
}

/** The mean of scores and half its 95% interval, by the normal distribution. */
function meanOf(scores) {
  const mean = scores.reduce((a, b) => a + b, 0) / scores.length;
  const variance = scores.reduce((sum, each) => sum + (each - mean) ** 2, 0) / Math.max(scores.length - 1, 1);
  return [mean, 1.96 * Math.sqrt(variance / scores.length)];
}

function showScores(scores, total, score = null) {
  const [mean, half] = meanOf(scores);
  $("score-progress").value = scores.length / total;
  const lead = score === null ? `${scores.length} of ${total} runs of ${scored}: ` : `${scored}: score ${score.toFixed(2)} mph, `;
  $("score-status").textContent = `${lead}mean ${mean.toFixed(2)} mph, 95% interval ${(mean - half).toFixed(2)} to ${(mean + half).toFixed(2)}`;
  $("runs").hidden = false;
  drawHistogram($("histogram"), scores, score, $("score-status").textContent);
}

evaluating.onmessage = ({ data }) => {
  if (data.kind === "progress") return showScores(data.scores, data.total);
  showScoring(false);
  if (data.kind === "result") {
    showScores(data.scores, data.runs, data.score);
    const at = yours.findIndex(([name]) => name === scored);
    if (at >= 0) yours.splice(at, 1);
    yours.push([scored, data.otherAgents, data.score]);
    showKnown();
    $("score-status").textContent += `. ${data.runs} runs in ${data.seconds.toFixed(1)} s.`;
  } else {
    $("score-status").textContent = data.kind === "stopped" ? "Stopped." : `The evaluation failed: ${data.message}`;
  }
};

$("score").addEventListener("click", async () => {
  showScoring(true);
  scored = `${names[chosen]}, evaluated here`;
  $("score-status").textContent = "Evaluating…";
  evaluating.postMessage({ file: await policyFile(chosen), action: 0 });
});
$("score-stop").addEventListener("click", () => evaluating.postMessage({ kind: "stop" }));

// --- start ----------------------------------------------------------------------------------------------------------

showTheme();
showKnown();
pause(paused);
drive(FACTS.champions[0].name);
requestAnimationFrame(tick);
if (navigator.serviceWorker) navigator.serviceWorker.register("offline.js").catch(() => {});
