// Training: the form of settings, progress as curves, and the network that comes out.
import { drawCurve } from "./charts.js";
import { $, complain, mph, whole, worker } from "./dom.js";
import { CodeBox } from "./coding.js";
import { drive, driveFile, events, files } from "./driving.js";
import { SettingsForm } from "./settings.js";

const CHART_MS = 250;

const training = worker("train.js");
const answers = new Map(); // who waits for an answer of the worker, by its number
let [form, code, curve, drawn, inTraining] = [null, null, [], 0, false];

/** Ask the worker for what it makes of a message. */
function ask(message) {
  return new Promise((resolve, reject) => {
    const id = answers.size ? Math.max(...answers.keys()) + 1 : 0;
    answers.set(id, { resolve, reject });
    training.postMessage({ ...message, id });
  });
}

/** Let the network of code drive. */
async function driveWeights({ driving, weights }, label) {
  driveFile(await ask({ kind: "convert", weights, given: { ...driving, label } }), label);
}

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
    code = new CodeBox(form, (found, name) => driveWeights(found, name).catch((error) => complain(`${name}: ${error.message}`)));
    showTraining(false);
  } else if (data.kind === "answer") {
    const { resolve, reject } = answers.get(data.id);
    answers.delete(data.id);
    if (data.error) reject(new Error(data.error));
    else resolve(data.value);
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
    events.dispatchEvent(new CustomEvent("trained", { detail: data }));
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

// --- files ----------------------------------------------------------------------------------------------------------

events.addEventListener("open", async ({ detail: file }) => {
  if (!file.name.endsWith(".js")) return complain(`${file.name} is neither a policy file (.safetensors) nor a file of the original game (.js).`);
  complain("");
  $("code-details").open = true;
  await code.open(await file.text(), file.name).catch((error) => complain(`${file.name}: ${error.message}`));
});
