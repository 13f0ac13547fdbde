// Race: a ghost of another driver on the same seed, and how far apart the two are.
import { $, complain, mph } from "./dom.js";
import { chosen, events, files, names, policyFile, restart, send } from "./driving.js";
import { FACTS } from "./facts.js";

const DRAW_MS = 100;
const rivals = $("rival");
export let rival = ""; // the name of the ghost's driver; "" where there is none
let [own, gaps, drawn, isSet] = [null, [], 0, false];

for (const { name } of FACTS.champions) $("rival-champions").append(new Option(name, name));
const option = (name) => rivals.querySelector(`[value="${CSS.escape(name)}"]`);
export const rivalName = () => rivals.selectedOptions[0].text;

/** Race against a driver, "" for none, from the start of a run. */
export async function race(name) {
  rival = rivals.value = name;
  isSet = false;
  $("gap").hidden = !name;
  if (!name) {
    send({ kind: "rival" });
    events.dispatchEvent(new Event("race"));
    return;
  }
  try {
    const driver = name === "own" ? own : { file: await policyFile(name), action: 0 };
    if (rival !== name) return;
    if (name === "own") $("seed").value = own.seed;
    send({ kind: "rival", rival: driver });
    isSet = true;
    events.dispatchEvent(new Event("race"));
    restart(Number($("seed").value));
  } catch (error) {
    complain(error.message);
  }
}

/** Keep what was driven by hand, to race against it. */
export function keepOwn({ seed, actions, score }) {
  own = { seed, actions, action: 0 };
  Object.assign(option("own"), { disabled: false, text: `your drive, ${mph(score)} mph` });
}

/** Offer the files that were opened as well. */
function offerFiles() {
  const opened = [...$("yours").children].map(({ value }) => value).filter((value) => value !== "trained");
  for (const each of [...$("rival-yours").children]) if (!["trained", "own", ...opened].includes(each.value)) each.remove();
  for (const name of opened) if (!option(name)) $("rival-yours").append(new Option(names[name], name));
}

function drawGaps() {
  const now = performance.now();
  if (now - drawn < DRAW_MS) return;
  drawn = now;
  const canvas = $("gap-curve");
  const ratio = Math.min(devicePixelRatio || 1, 3);
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  Object.assign(canvas, { width: width * ratio, height: height * ratio });
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const style = getComputedStyle(canvas);
  const most = Math.max(...gaps.map(([, gap]) => Math.abs(gap)), 30);
  const last = Math.max(gaps.at(-1)[0], FACTS.official[2018].frames);
  const [across, along] = [(frame) => frame / last * width, (gap) => height / 2 - gap / most * (height / 2 - 2)];
  context.strokeStyle = style.getPropertyValue("--muted");
  context.strokeRect(0, height / 2, width, 0);
  for (const side of [1, -1]) {
    const colour = style.getPropertyValue(side > 0 ? "--positive" : "--negative");
    context.beginPath();
    context.moveTo(0, height / 2);
    for (const [frame, gap] of gaps) context.lineTo(across(frame), along(gap * side > 0 ? gap : 0));
    context.lineTo(across(gaps.at(-1)[0]), height / 2);
    [context.fillStyle, context.globalAlpha] = [colour, 0.75];
    context.fill();
  }
}

export const feet = (gap) => `${Math.abs(Math.round(gap)).toLocaleString("en")} ft`;

events.addEventListener("frame", ({ detail: { frame, rival: other } }) => {
  if (!other || !rival) return;
  if (frame <= (gaps.at(-1)?.[0] ?? 0)) [gaps, drawn] = [[], 0];
  const gap = other.gap * FACTS.feetPerPx;
  gaps.push([frame, gap]);
  $("gap-now").textContent = feet(gap);
  $("gap-side").textContent = `${gap < 0 ? "behind" : "ahead of"} ${rivalName()}`;
  drawGaps();
});
events.addEventListener("driving", ({ detail: { manifest } }) => {
  const agents = manifest?.other_agents ?? 0;
  offerFiles();
  for (const { name, otherAgents } of FACTS.champions) option(name).disabled = otherAgents !== agents;
  option("trained").disabled = !files.trained;
  option("own").disabled = !own || agents > 0;
  if (rival && option(rival)?.disabled !== false) race("");
});
events.addEventListener("driver", ({ detail: { isNews } }) => {
  if (isSet && !isNews) restart(Number($("seed").value));
});
events.addEventListener("refused", ({ detail: { message } }) => { complain(message); race(""); });
rivals.addEventListener("change", () => race(rivals.value));
export const isRace = () => rival !== "" || chosen === "keys";
