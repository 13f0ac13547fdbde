// One run for the worker that drives: a game, who drives it, and what the page shows of it.
import { FACTS } from "./facts.js";

const { trail: TRAIL, speedFrames: SPEED_FRAMES } = FACTS;
const RULED_OUT = 500; // an output so far below the largest says that an action is not considered at all

export class Run {
  constructor(engine) {
    Object.assign(this, { engine, driver: { action: 0 }, seed: FACTS.firstSeed, watching: false, attending: false });
    [this.held, this.tapped] = [[], 0];
  }

  /** Let a driver take the wheel: a policy file, actions one after the other, or one action or the keys. */
  change(driver) {
    const next = driver.file ? this.engine.policy(driver.file) : undefined;
    const { rules = 2018, other_agents: otherAgents = 0 } = next?.manifest ?? {};
    this.policy?.release();
    [this.policy, this.driver, this.insight] = [next, driver, undefined];
    if (this.road?.otherAgents === otherAgents && this.road.year === rules) {
      this.policy?.attach(otherAgents + 1);
      return;
    }
    this.road?.release();
    this.road = Object.assign(this.engine.road({ rules, otherAgents }), { year: rules });
    this.restart(this.seed);
  }

  restart(seed) {
    this.seed = seed;
    this.road.resetOpen(seed);
    this.policy?.attach(this.road.otherAgents + 1);
    Object.assign(this, { past: [], ground: 0, tapped: 0, actions: [], attention: [], insight: undefined });
    this.remember();
  }

  get nextAction() {
    return this.driver.actions?.[this.actions.length] ?? (this.tapped || this.held.at(-1) || this.driver.action || 0);
  }

  decide(agent) {
    if (agent !== 0) return this.policy ? this.policy.act(this.road, agent) : 0;
    if (this.attending && this.policy) this.attention = this.attend();
    const isAsked = this.policy?.isAsked();
    const action = this.policy ? this.policy.act(this.road) : this.nextAction;
    if (this.watching && this.policy) this.insight = { isNews: true, action, isAsked, values: this.policy.activity };
    this.actions.push(action);
    this.tapped = 0;
    return action;
  }

  playFrame() {
    const scroll = this.road.state("scroll");
    this.road.play((agent) => this.decide(agent), this.frame + 1);
    this.ground += scroll;
    this.remember();
  }

  remember() {
    const { road } = this;
    this.past.unshift({ x: road.state("x")[0], y: road.state("y")[0], ground: this.ground, speed: road.speedMph });
    this.past.length = Math.min(this.past.length, TRAIL.frames + 1);
  }

  /** How much the decision changes, 0 to 1, when the network does not see a vehicle; of every vehicle but the ego car. */
  attend() {
    const { policy, road } = this;
    const before = policy.outputs(road);
    const top = Math.max(...before);
    const spread = top - Math.min(...before.filter((value) => value > top - RULED_OUT));
    const relative = (outputs) => {
      const kept = [...outputs].map((value) => Math.max(value, top - 2 * spread));
      const mean = kept.reduce((a, b) => a + b, 0) / kept.length;
      return kept.map((value) => value - mean);
    };
    const first = relative(before);
    const changes = [...road.state("y").keys()].slice(1).map((vehicle) => road.without(vehicle, (cells) => (
      cells ? Math.max(...relative(policy.outputs(road)).map((value, k) => Math.abs(value - first[k]))) : 0)));
    const most = Math.max(...changes, spread / 10, 1e-9);
    return changes.map((change) => change / most);
  }

  get frame() {
    return this.road.state("frame");
  }

  /** How far the car has come since the start [px]. */
  get distance() {
    return this.ground - this.road.state("y")[0];
  }

  get speed() {
    const shown = this.past.slice(0, SPEED_FRAMES);
    return Math.floor(shown.reduce((sum, { speed }) => sum + speed, 0) / shown.length);
  }

  /** The contest's score so far [mph]; null before the first frame. */
  get score() {
    return this.frame ? this.road.score : null;
  }

  get trail() {
    return this.past.map(({ x, y, ground }) => [x, y + this.ground - ground]);
  }

  release() {
    this.policy?.release();
    this.road?.release();
  }
}
