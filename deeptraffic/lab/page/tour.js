// Guided tour: what is an input, an action, a reward and exploration, in five steps to a car that one has trained.
import { $ } from "./dom.js";
import { chosen, drive, events, pause, restart, send } from "./driving.js";
import { FACTS } from "./facts.js";
import { race } from "./race.js";

const SEEN = "deeptraffic-lab-tour";
const PASS = 65; // mph, the course's pass mark
const champion = FACTS.champions[0].name;
const remembered = () => { try { return localStorage.getItem(SEEN); } catch { return null; } };
const remember = () => { try { localStorage.setItem(SEEN, "seen"); } catch { /* a page without storage asks again */ } };

function show(overlay) {
  $("overlay").value = overlay;
  send({ kind: "overlay", name: overlay });
}

async function watchChampion(overlay) {
  if ($("rival").value) race("");
  if (chosen !== champion) await drive(champion);
  $("pace").value = "normal";
  show(overlay);
  pause(false);
}

const STEPS = [
  {
    title: "What the car sees: inputs",
    text: "A neural network drives the red car. All it gets are numbers, one for each coloured cell of the road: 1 where the road is free, "
      + "less where there is a car, by that car's speed. These numbers are its inputs.",
    target: "drive",
    begin: async () => { await watchChampion("input"); restart(Number($("seed").value)); },
  },
  {
    title: "What it can do: actions",
    text: "Twice a second, the numbers flow through the network from left to right, and out come five: one for each action. The largest wins. "
      + "A safety system brakes and refuses lane changes that would end in a crash, so the network never has to learn that.",
    target: "network",
    begin: () => watchChampion("none"),
  },
  {
    title: "What it wants: reward",
    text: "After each action the car gets a mark, its reward: 0 for a mean speed of 40 mph, 3 for 80. Nobody tells it how to overtake. "
      + "The orange lines show which cars its decision depends on: hide one of them, and it would value its actions differently.",
    target: "drive",
    begin: () => watchChampion("attention"),
  },
  {
    title: "How it learns: exploration",
    text: "A new network knows nothing. At first it acts at random, and so finds out what pays; that is exploration. The more it has seen, the "
      + "more it does what it takes for the best. Train one: this takes a few seconds, and the car drives by it as it learns.",
    target: "train",
    begin: () => show("none"),
    action: "Train a network",
    run() {
      [$("preset").value, $("live").checked] = [FACTS.firstPreset, true];
      $("preset").dispatchEvent(new Event("change"));
      $("run").click();
    },
    until: "trained",
    done: ({ done }) => `Trained on ${done.toLocaleString("en")} decisions, about ${Math.round(done / 2 / 3600)} hours of driving. It drives now.`,
  },
  {
    title: "How good is it?",
    text: "The contest's score is the median speed of 500 runs on roads that the network has never seen. The pass mark of MIT's course was "
      + `${PASS} mph; a car that does nothing reaches 51.57.`,
    target: "evaluate",
    begin: () => { if (!$("driver").querySelector('[value="trained"]').disabled) return drive("trained"); },
    action: "Evaluate it",
    run: () => $("score").click(),
    until: "scored",
    done: ({ score }) => `${score.toFixed(2)} mph. ${score >= PASS ? "You have passed." : "Not enough yet: train on, or change the settings."} `
      + "Now change the network, race it against a champion, or drive by hand.",
  },
];

let at = -1;
const panel = $("tour");

function go(step) {
  if (at >= 0) $(STEPS[at].target).classList.remove("lit");
  at = step;
  document.body.classList.toggle("touring", at >= 0);
  panel.hidden = at < 0;
  if (at < 0) return;
  const { title, text, target, action, begin } = STEPS[at];
  $("tour-count").textContent = `${at + 1} of ${STEPS.length}`;
  $("tour-title").textContent = title;
  $("tour-text").textContent = text;
  $("tour-result").textContent = "";
  $("tour-back").disabled = at === 0;
  Object.assign($("tour-act"), { hidden: !action, textContent: action ?? "", disabled: false });
  $("tour-next").textContent = at < STEPS.length - 1 ? "Next" : "Done";
  weigh(action ? "tour-act" : "tour-next");
  $(target).classList.add("lit");
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  $(target).scrollIntoView({ block: "start", behavior: calm ? "auto" : "smooth" });
  begin();
  $(action ? "tour-act" : "tour-next").focus({ preventScroll: true });
}

/** Make one button the main one. */
function weigh(id) {
  for (const each of ["tour-act", "tour-next"]) $(each).classList.toggle("main", each === id);
}

function end() {
  remember();
  $("tour-start").classList.remove("main");
  show("none");
  go(-1);
  $("tour-start").focus({ preventScroll: true });
}

for (const name of ["trained", "scored"]) {
  events.addEventListener(name, ({ detail }) => {
    if (STEPS[at]?.until !== name || !$("tour-act").disabled) return;
    $("tour-result").textContent = STEPS[at].done(detail);
    weigh("tour-next");
    $("tour-next").focus({ preventScroll: true });
  });
}
$("tour-act").addEventListener("click", () => {
  $("tour-act").disabled = true;
  $("tour-result").textContent = "One moment…";
  STEPS[at].run();
});
$("tour-next").addEventListener("click", () => at < STEPS.length - 1 ? go(at + 1) : end());
$("tour-back").addEventListener("click", () => go(at - 1));
$("tour-skip").addEventListener("click", end);
panel.addEventListener("keydown", (event) => { if (event.key === "Escape") end(); });
$("tour-start").addEventListener("click", () => go(0));
$("tour-start").classList.toggle("main", !remembered());
