// Training: the form of settings, progress as curves, and the network that comes out.
import { drawCurve } from "./charts.js";
import { $, complain, download, mph, whole, worker } from "./dom.js";
import { CodeBox } from "./coding.js";
import { drive, driveFile, events, files } from "./driving.js";
import { codeOf, withWeights } from "./original.js";
import { SettingsForm, algoOf } from "./settings.js";
import { linkTo, readLink } from "./sharing.js";
import { keep, kept, pack, unpack } from "./store.js";

const CHART_MS = 250;

const training = worker("train.js");
const isOriginal = () => form.algo === "deepqlearn"; // the learner that the code box describes
const answers = new Map(); // who waits for an answer of the worker, by its number
let [form, code, curve, drawn, inTraining] = [null, null, [], 0, false];
let trained = null; // of the network: { done, total, settings }
let showReady;
const ready = new Promise((resolve) => { showReady = resolve; }); // once the form shows the settings that were kept

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
  $("more").disabled = isOn || !trained || trained.isOver;
  $("save").disabled = !files.trained;
}

function takeNetwork(file, mayDrive = true) {
  files.trained = file;
  const option = $("driver").querySelector('option[value="trained"]');
  [option.disabled, option.textContent] = [false, "Your network"];
  if (mayDrive && $("live").checked) drive("trained", true);
}

/** Whether a report is of far fewer decisions than the one before, as the last one is. */
const isNoise = ({ done }) => curve.length > 1 && done - curve.at(-1).done < (curve.at(-1).done - curve.at(-2).done) / 4;

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

/** Show what was kept, then what a link brings. */
async function begin(restored) {
  const page = await kept("page");
  if (!inTraining) {
    if (fits(page?.settings)) showState(page);
    if (restored) showRestored(restored);
    else showTraining(false);
  }
  for (const each of [form, code]) each.events.addEventListener("change", keepState);
  await openLinkOrComplain();
  showReady();
}

training.onmessage = ({ data }) => {
  if (data.kind === "presets") {
    form = new SettingsForm($("settings"), data.presets, data.activations);
    code = new CodeBox(form, (found, name) => driveWeights(found, name).catch((error) => complain(`${name}: ${error.message}`)));
    begin(data.restored);
  } else if (data.kind === "kept") {
    keepState();
  } else if (data.kind === "answer") {
    const { resolve, reject } = answers.get(data.id);
    answers.delete(data.id);
    if (data.error) reject(new Error(data.error));
    else resolve(data.value);
  } else if (data.kind === "progress") {
    if (!isNoise(data)) curve.push(data);
    $("train-progress").value = data.done / data.total;
    $("train-status").textContent = `${whole(data.done)} of ${whole(data.total)} decisions, ${whole(data.perSecond)} per second; `
      + `${mph(data.mph)} mph while exploring, loss ${data.loss?.toPrecision(3) ?? "–"}`;
    drawCurves(data.total);
  } else if (data.kind === "network") {
    takeNetwork(data.file);
  } else if (data.kind === "done") {
    trained = { ...trained, done: data.done, total: data.total };
    takeNetwork(data.file);
    showTraining(false);
    drawCurves(data.done);
    events.dispatchEvent(new CustomEvent("trained", { detail: data }));
    const ended = data.done < data.total ? "Stopped after" : "Trained for";
    $("train-status").textContent = `${ended} ${whole(data.done)} decisions. Evaluate it below, save it, or train on.`;
  } else {
    if (!data.canGoOn) trained = null;
    showTraining(false);
    $("train-status").textContent = `Training failed: ${data.message}`;
  }
};

$("settings").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (isOriginal() && !await code.isRead()) {
    $("code-details").open = true;
    return $("code").focus();
  }
  const settings = form.read();
  if (!settings || inTraining) return;
  curve = [];
  trained = { done: 0, total: settings.total_timesteps, settings, random: isOriginal() ? code.random : {} };
  start({ settings, random: trained.random, decisions: settings.total_timesteps });
});
$("stop").addEventListener("click", () => training.postMessage({ kind: "stop" }));
$("more").addEventListener("click", () => {
  const left = trained.total - trained.done; // of a training that was stopped
  start({ decisions: left > 0 ? left : Number(form.input("total_timesteps").value) });
});
$("live").addEventListener("change", () => { if ($("live").checked && files.trained) drive("trained"); });

// --- what outlives the page ------------------------------------------------------------------------------------------

/** What the page knows besides the worker's learner. */
const state = () => ({ settings: form.values() ?? form.base, code: code.text, curve });
const keepState = () => keep("page", state());

/** Settings that code can say. */
const originalOf = (settings) => algoOf(settings) === "deepqlearn" ? settings : form.presets["mit-basic"];

/** Show what was kept, or saved with everything. */
function showState({ settings, code: text, curve: points }) {
  form.show(settings);
  code.show(typeof text === "string" ? text : codeOf(originalOf(settings)), settings);
  curve = Array.isArray(points) ? points : [];
}

const SAMPLES = { deepqlearn: "mit-basic", pqn: "pqn-quick" }; // presets with all settings of a learner
const isLayer = ([neurons, activation]) => Number.isInteger(neurons) && form.activations.includes(activation);

/** Whether a value has all settings of its learner, with the right types; the form checks their limits. */
function fits(settings) {
  if (typeof settings !== "object" || settings === null || !Object.hasOwn(SAMPLES, algoOf(settings))) return false;
  const { layers, hidden } = settings;
  const hasLayers = settings.algo ? Array.isArray(hidden) && hidden.every(Number.isInteger) : Array.isArray(layers) && layers.every(isLayer);
  return hasLayers && Object.entries(form.presets[SAMPLES[algoOf(settings)]]).every(([name, value]) => typeof settings[name] === typeof value);
}

function showRestored({ done, total, file, settings, random, isOver }) {
  trained = { done, total, settings, random, isOver };
  curve = curve.filter((each) => each.done <= done);
  if (curve.length) drawCurves(Math.max(done, total));
  $("train-progress").value = done / Math.max(total, 1);
  takeNetwork(file, false);
  showTraining(false);
  $("train-status").textContent = `Kept: a network trained for ${whole(done)} decisions. Evaluate it below, save it, or `
    + (isOver ? "train anew: its training was made by another version of the page." : "train on.");
}

// --- files and links ------------------------------------------------------------------------------------------------

const OPENERS = {
  js: async (file) => {
    $("code-details").open = true;
    await code.open(await file.text(), file.name);
  },
  lab: async (file) => {
    const { page, learner } = unpack(new Uint8Array(await file.arrayBuffer()));
    if (inTraining) throw new Error("stop the training first");
    if (!fits(page?.settings)) throw new Error("it was saved by another version of the page");
    const restored = learner && await ask({ kind: "restore", saved: learner });
    showState(page);
    await keepState();
    if (restored) showRestored(restored);
  },
};

events.addEventListener("open", async ({ detail: file }) => {
  complain("");
  await ready; // a slow machine shows the page long before
  try {
    const kind = file.name.split(".").at(-1);
    if (!Object.hasOwn(OPENERS, kind)) throw new Error("open a policy file (.safetensors), a file of the original game (.js) or a saved lab (.lab)");
    await OPENERS[kind](file);
  } catch (error) {
    complain(`${file.name}: ${error.message}`);
  }
});

/** Whether the trained network is one of the settings that the form shows. */
function isOfTheseSettings() {
  const wanted = form.values();
  const shape = ["algo", "lanes_side", "patches_ahead", "patches_behind", "other_agents"]
    .concat(isOriginal() ? ["temporal_window", "layers"] : ["kind", "hidden", "activation", "layer_norm"]);
  const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
  return Boolean(files.trained && trained && wanted) && same(trained.random, isOriginal() ? code.random : {})
    && shape.every((name) => same(trained.settings[name], wanted[name]));
}

$("save").addEventListener("click", () => download(files.trained, "network.safetensors"));
$("save-code").addEventListener("click", async () => {
  await ready;
  await code.isWritten();
  const hasNetwork = await code.isRead() && isOfTheseSettings();
  const text = hasNetwork ? withWeights(code.text, await ask({ kind: "weights", file: files.trained })) : code.text;
  download(new Blob([text], { type: "text/javascript" }), "deeptraffic.js");
  $("share-status").textContent = hasNetwork ? "Saved the code with the network, as the original game does." : "Saved the code; no network is trained for these settings.";
});
$("save-all").addEventListener("click", async () => {
  await ready;
  download(pack({ page: state(), learner: await ask({ kind: "save" }) }), "deeptraffic.lab");
  $("share-status").textContent = "Saved settings, code, network and the state of the training; open the file here to go on.";
});
$("share").addEventListener("click", async () => {
  await ready;
  const settings = form.read();
  if (!settings) return;
  const network = isOfTheseSettings() ? files.trained : null;
  const { link, hasNetwork } = await linkTo(settings, network);
  const what = hasNetwork ? "the settings and the network" : network ? "the settings; the network is too large for a link, so send its file" : "the settings";
  try {
    await navigator.clipboard.writeText(link);
    $("share-status").textContent = `Copied a link with ${what}.`;
  } catch {
    const text = Object.assign(document.createElement("a"), { href: link, textContent: "this link" });
    $("share-status").replaceChildren("Copy ", text, ` with ${what}.`);
  }
});

async function openLink() {
  const found = await readLink(location.hash);
  if (!found) return;
  history.replaceState(null, "", location.pathname + location.search);
  if (!fits(found.settings)) throw new Error("the settings of this link are of another version of the page");
  form.show(found.settings);
  code.show(codeOf(originalOf(found.settings)), found.settings);
  keepState();
  if (found.network) driveFile(found.network, "network of the link");
}
const openLinkOrComplain = () => openLink().catch((error) => complain(error.message));
addEventListener("hashchange", () => ready.then(openLinkOrComplain));
