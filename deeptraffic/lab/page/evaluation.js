// Evaluation: official runs with a live histogram, and the known scores.
import { drawHistogram } from "./charts.js";
import { $, worker } from "./dom.js";
import { chosen, events, names, policyFile } from "./driving.js";
import { FACTS } from "./facts.js";
import { keep, kept } from "./store.js";

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
    keep("scores", yours);
    $("score-status").textContent += `. ${data.runs} runs in ${data.seconds.toFixed(1)} s.`;
    events.dispatchEvent(new CustomEvent("scored", { detail: data }));
  } else {
    $("score-status").textContent = data.kind === "stopped" ? "Stopped." : `The evaluation failed: ${data.message}`;
  }
};

events.addEventListener("driver", () => {
  $("score").disabled = scoring || chosen === "keys";
  $("scored-name").textContent = names[chosen] ?? "a driver";
});
$("score").addEventListener("click", async () => {
  showScoring(true);
  scored = `${names[chosen]}, evaluated here`;
  $("score-status").textContent = "Evaluating…";
  evaluating.postMessage({ file: await policyFile(chosen), action: 0 });
});
$("score-stop").addEventListener("click", () => evaluating.postMessage({ kind: "stop" }));

showKnown();
kept("scores").then((found) => {
  const isScore = (row) => Array.isArray(row) && typeof row[0] === "string" && Number.isFinite(row[1]) && Number.isFinite(row[2]);
  if (Array.isArray(found)) yours.unshift(...found.filter(isScore));
  showKnown();
});
