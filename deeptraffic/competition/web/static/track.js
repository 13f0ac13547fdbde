// A run's positions as the server sends them (render/track.py): differences, which become positions here.

const LANE = 20; // px
const JUMP = 60; // px between two entries: the vehicle left the road and came in again
export const FRAMES_PER_SECOND = 60;

function sums(steps, unit) {
  const out = new Float32Array(steps.length);
  let total = 0;
  for (let k = 0; k < steps.length; k++) {
    total += steps[k];
    out[k] = total * unit;
  }
  return out;
}

export class Track {
  constructor(raw) {
    if (raw.format !== "deeptraffic-track" || raw.version !== 1) throw new Error("This page is older than the replay: reload it.");
    this.lanes = raw.lanes;
    this.width = raw.lanes * LANE;
    this.length = raw.rows * 10;
    this.rows = raw.rows;
    this.vehicles = raw.vehicles;
    this.others = raw.other_agents;
    this.year = raw.year;
    this.frames = raw.frames;
    this.step = raw.frame_step;
    this.x = raw.x.map((steps) => sums(steps, raw.unit));
    this.y = raw.y.map((steps) => sums(steps, raw.unit));
    this.ground = sums(raw.ground, raw.unit);
    this.speeds = raw.speed_mph;
    this.passed = raw.passed;
    this.entries = this.ground.length;
  }

  static async load(address) {
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(answer.status === 404 ? "There is no replay of this run." : "The replay could not be loaded.");
    return new Track(await answer.json());
  }

  // Entry before a frame, and the fraction (0..1) of a step that the frame is past it.
  at(frame) {
    const position = Math.min(Math.max(frame / this.step, 0), this.entries - 1);
    const entry = Math.min(Math.floor(position), this.entries - 1);
    return [entry, position - entry];
  }

  between(values, entry, fraction) {
    const here = values[entry];
    const next = values[Math.min(entry + 1, this.entries - 1)];
    return Math.abs(next - here) > JUMP ? (fraction < 0.5 ? here : next) : here + (next - here) * fraction;
  }

  place(vehicle, frame) {
    const [entry, fraction] = this.at(frame);
    return [this.between(this.x[vehicle], entry, fraction), this.between(this.y[vehicle], entry, fraction)];
  }

  groundAt(frame) {
    const [entry, fraction] = this.at(frame);
    return this.between(this.ground, entry, fraction);
  }

  speed(frame) { return this.speeds[this.at(frame)[0]]; }
  passedAt(frame) { return this.passed[this.at(frame)[0]]; }

  // Speed over the ground [px/frame] of a vehicle, from its last step.
  ownSpeed(vehicle, frame) {
    const entry = Math.max(1, this.at(frame)[0]);
    const moved = this.y[vehicle][entry] - this.y[vehicle][entry - 1];
    if (Math.abs(moved) > JUMP) return 1;
    return Math.max(0, (this.ground[entry] - this.ground[entry - 1] - moved) / this.step);
  }
}
