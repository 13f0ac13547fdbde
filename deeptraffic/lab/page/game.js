// The game: a drive by hand, or a race, with a countdown, an end card and a rank among the known scores.
import { $, mph } from "./dom.js";
import { chosen, drive, events, hold, names, restart, send } from "./driving.js";
import { FACTS } from "./facts.js";
import { feet, isRace, keepOwn, race, rival, rivalName } from "./race.js";

const FRAMES = FACTS.official[2018].frames;
const COUNT_MS = 700;
let [counting, best, wasGame] = [0, 0, false];

/** Count down from 3 and let the cars go. */
function countDown() {
  clearTimeout(counting);
  hold("countdown", true);
  $("card").hidden = true;
  const show = (number) => {
    $("count").textContent = number || "Go";
    $("count").hidden = false;
    if (!number) hold("countdown", false);
    counting = setTimeout(() => number ? show(number - 1) : $("count").hidden = true, COUNT_MS);
  };
  show(3);
}

function begin() {
  const isGame = isRace();
  clearTimeout(counting);
  hold("countdown", false);
  $("count").hidden = $("card").hidden = true;
  if (isGame !== wasGame) send({ kind: "limit", frames: isGame ? FRAMES : Infinity });
  wasGame = isGame;
  if (chosen === "keys") countDown();
}

/** Where a score stands among the known ones without other agents. */
function rankOf(score) {
  const known = FACTS.known.filter(([, agents]) => agents === 0).sort((a, b) => b[2] - a[2]);
  const place = known.filter(([, , each]) => each > score).length;
  const [better, worse] = [known[place - 1], known[place]];
  const parts = [better && `behind ${better[0]} (${better[2].toFixed(2)})`, worse && `ahead of ${worse[0]} (${worse[2].toFixed(2)})`];
  return [place + 1, known.length + 1, parts.filter(Boolean).join(", ")];
}

function showCard({ mean, passed, rival: other }) {
  const byHand = chosen === "keys";
  const who = byHand ? "You" : names[chosen];
  $("card-score").textContent = mean.toFixed(2);
  const [place, of, between] = rankOf(mean);
  $("card-rank").textContent = byHand ? `Place ${place} of ${of}: ${between}.` : `${who} passed ${passed} cars.`;
  const gap = other ? other.gap * FACTS.feetPerPx : 0;
  $("card-title").textContent = other ? `${who} ${gap < 0 ? "lost" : "won"} by ${feet(gap)}` : "Your drive";
  const [others, record] = [other && `${rivalName()}: ${other.score.toFixed(2)} mph`, byHand && mean > best && best > 0 && "Your best so far"];
  const note = byHand && `${passed} cars passed in one run; the scores are medians of ${FACTS.official[2018].runs}`;
  $("card-note").textContent = [others, record, note].filter(Boolean).map((text) => `${text}.`).join(" ");
  $("card-challenge").hidden = !byHand || rival !== "";
  $("card-own").hidden = !byHand;
  if (byHand) best = Math.max(best, mean);
  $("card").hidden = false;
  $("card-again").focus({ preventScroll: true });
}

events.addEventListener("driver", ({ detail: { isNews } }) => {
  if (isNews) return;
  if (chosen === "keys") restart(Number($("seed").value));
  else begin();
});
events.addEventListener("race", begin);
events.addEventListener("restart", begin);
events.addEventListener("ended", ({ detail }) => {
  if (!isRace()) return;
  if (chosen === "keys") send({ kind: "keep" });
  showCard(detail);
});
events.addEventListener("kept", ({ detail }) => keepOwn(detail));

const again = (seed) => { restart(seed); $("road").focus({ preventScroll: true }); };
$("card-again").addEventListener("click", () => again(Number($("seed").value)));
$("card-new").addEventListener("click", () => { $("seed").value = (Number($("seed").value) + 1) % 1e9; again(Number($("seed").value)); });
$("card-challenge").addEventListener("click", () => { race(FACTS.champions[0].name); $("road").focus({ preventScroll: true }); });
$("card-own").addEventListener("click", () => { race("own"); $("road").focus({ preventScroll: true }); });
$("card").addEventListener("keydown", ({ key }) => { if (key === "Escape") $("card").hidden = true; });
$("card-watch").addEventListener("click", () => { race(""); drive(FACTS.champions[0].name); });
