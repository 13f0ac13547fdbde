// Canvas of the road: surface, overlay, trail and vehicles, copied from the atlas that the package drew.
import { FACTS } from "./facts.js";

const { atlas: ATLAS, road: ROAD, trail: TRAIL } = FACTS;
const VISIBLE = 520; // px of the road along the canvas
const EGO_AT = ROAD.egoY / (ROAD.rows * ROAD.cell); // of the canvas's height, as in the original game
const ATTENTION = "255 190 40";
const SURFACE_WIDTH = ROAD.lanes * ROAD.lane + 2 * ROAD.shoulder;

export class RoadView {
  /** size: of a canvas that is not in the page [pixels] */
  constructor(canvas, size = null) {
    Object.assign(this, { canvas, size, car: null, trail: TRAIL.colours.yellow });
    this.context = canvas.getContext("2d", { alpha: false, willReadFrequently: Boolean(size) });
    this.atlases = {};
    if (!size) new ResizeObserver(() => this.fit()).observe(canvas);
  }

  async setTheme(name) {
    if (!this.atlases[name]) {
      const image = new Image();
      image.src = `atlas-${name}.png`;
      await image.decode();
      this.atlases[name] = image;
    }
    [this.theme, this.atlas] = [name, this.atlases[name]];
    [this.verge, this.ghost] = ["--verge", "--positive"].map((each) => getComputedStyle(document.documentElement).getPropertyValue(each));
    this.fit();
  }

  /** Copy the atlas at the canvas's own scale, so that every picture is as crisp as the screen. */
  fit() {
    const { canvas, atlas } = this;
    const ratio = this.size ? 1 : Math.min(devicePixelRatio || 1, 3);
    const [width, height] = (this.size ?? [canvas.clientWidth, canvas.clientHeight]).map((side) => Math.max(1, Math.round(side * ratio)));
    Object.assign(canvas, { width, height });
    if (!atlas) return;
    this.scale = Math.min(height / VISIBLE, width / SURFACE_WIDTH);
    this.left = (width / this.scale - ROAD.lanes * ROAD.lane) / 2;
    this.top = ROAD.egoY - EGO_AT * height / this.scale;
    this.parts = Object.fromEntries(Object.keys(ATLAS.parts).map((name) => [name, this.scaled(name)]));
    if (this.car) this.parts.ego = this.carOf(this.car);
    this.surface = this.wholeSurface(height);
    this.redraw();
  }

  redraw() {
    if (this.shown) this.draw(this.shown);
  }

  /** Take an image as the ego car, its front up, or null for the drawn one. */
  setCar(image) {
    this.car = image;
    this.fit();
  }

  /** The middle of an image in the shape of a car. */
  carOf(image) {
    const { scale } = this;
    const part = new OffscreenCanvas(this.parts.ego.width, this.parts.ego.height);
    const context = part.getContext("2d");
    const [wide, long] = [ROAD.carWidth, ROAD.carLength];
    const width = Math.min(image.width, image.height * wide / long);
    const from = [(image.width - width) / 2, (image.height - width * long / wide) / 2, width, width * long / wide];
    context.scale(scale, scale);
    context.beginPath();
    context.roundRect(ATLAS.pad, ATLAS.pad, wide, long, 4.6);
    context.save();
    [context.shadowColor, context.shadowBlur, context.fillStyle] = ["rgb(0 0 0 / 0.6)", 3 * scale, "rgb(0 0 0 / 0.3)"];
    context.fill();
    context.restore();
    context.clip();
    context.imageSmoothingQuality = "high";
    context.drawImage(image, ...from, ATLAS.pad, ATLAS.pad, wide, long);
    return part;
  }

  scaled(name) {
    const [x, y, width, height] = ATLAS.parts[name];
    const factor = this.scale / ATLAS.scale;
    const part = new OffscreenCanvas(Math.max(1, Math.round(width * factor)), Math.max(1, Math.round(height * factor)));
    const context = part.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(this.atlas, x, y, width, height, 0, 0, part.width, part.height);
    return part;
  }

  /** The surface, one period longer than the canvas; the period is a whole number of pixels. */
  wholeSurface(height) {
    const part = this.parts.surface;
    const whole = new OffscreenCanvas(part.width, height + 2 * part.height);
    const context = whole.getContext("2d");
    for (let y = 0; y < whole.height; y += part.height) context.drawImage(part, 0, y);
    return whole;
  }

  draw(frame) {
    this.shown = frame;
    if (!this.parts) return;
    const { context, canvas, scale } = this;
    context.fillStyle = this.verge;
    context.fillRect(0, 0, canvas.width, canvas.height);
    const period = this.parts.surface.height;
    const phase = (((this.top - frame.ground) / ROAD.period) % 1 + 1) % 1;
    context.drawImage(this.surface, Math.round((this.left - ROAD.shoulder) * scale), -phase * period);
    for (const [column, line, tile] of frame.cells) this.place(this.tile(tile), column * ROAD.lane, line * ROAD.cell);
    this.drawTrail(frame.trail);
    this.drawAttention(frame);
    if (frame.rival) this.drawRival(frame.rival);
    for (let vehicle = frame.x.length - 1; vehicle >= 0; vehicle--) this.drawVehicle(frame, vehicle);
  }

  tile(value) {
    return this.parts[typeof value === "number" ? `occupied${value}` : value];
  }

  place(part, x, y) {
    const top = (y - this.top) * this.scale;
    if (top > -part.height && top < this.canvas.height) this.context.drawImage(part, (this.left + x) * this.scale, top);
  }

  drawVehicle({ x, y, paces, otherAgents }, vehicle) {
    if (!Number.isFinite(y[vehicle])) return;
    const name = vehicle === 0 ? "ego" : vehicle <= otherAgents ? "agent" : `traffic${paces[vehicle]}`;
    this.place(this.parts[name], x[vehicle] - ATLAS.pad, y[vehicle] - ATLAS.pad);
  }

  /** Lines from the ego car to the vehicles that its decision depends on, as thick as it does. */
  drawAttention({ attention, x, y }) {
    const { context, scale } = this;
    const middle = (vehicle) => [(this.left + x[vehicle] + ROAD.carWidth / 2) * scale, (y[vehicle] + ROAD.carLength / 2 - this.top) * scale];
    attention.forEach((weight, k) => {
      if (weight < 0.05) return;
      const [[fromX, fromY], [toX, toY]] = [middle(0), middle(k + 1)];
      context.strokeStyle = `rgb(${ATTENTION} / ${(0.2 + 0.75 * weight).toFixed(2)})`;
      context.lineWidth = Math.max(1, 3 * weight * scale);
      context.beginPath();
      context.moveTo(fromX, fromY - ROAD.carLength / 2 * scale);
      context.lineTo(toX, toY);
      context.stroke();
      context.lineWidth = (0.8 + 2.2 * weight) * scale;
      context.beginPath();
      context.roundRect(toX - 10 * scale, toY - 19.5 * scale, 20 * scale, 39 * scale, 7 * scale);
      context.stroke();
    });
  }

  /** The ghost of the other car, or where it is beyond the canvas. */
  drawRival({ x, y }) {
    const { context, scale, canvas } = this;
    context.globalAlpha = 0.62;
    this.place(this.parts.ghost, x - ATLAS.pad, y - ATLAS.pad);
    context.globalAlpha = 1;
    const top = (y - this.top) * scale;
    const isAbove = top < -ROAD.carLength * scale;
    if (!isAbove && top < canvas.height) return;
    const [at, tip, side] = [(this.left + x + ROAD.carWidth / 2) * scale, isAbove ? 5 * scale : canvas.height - 5 * scale, isAbove ? 1 : -1];
    context.fillStyle = this.ghost;
    context.beginPath();
    context.moveTo(at, tip);
    context.lineTo(at - 8 * scale, tip + side * 12 * scale);
    context.lineTo(at + 8 * scale, tip + side * 12 * scale);
    context.fill();
  }

  /** A tapering ribbon that fades along the road. */
  drawTrail(trail) {
    const { context, scale } = this;
    const jump = trail.findIndex(([, y], k) => k > 0 && Math.abs(y - trail[k - 1][1]) > ROAD.carLength); // it came in again
    const points = trail.slice(0, jump < 0 ? undefined : jump).map(([x, y], k) => ({
      x: (this.left + x + ROAD.carWidth / 2) * scale, y: (y + ROAD.carLength / 2 - this.top) * scale, age: k / TRAIL.frames,
    }));
    const length = points.at(-1).y - points[0].y;
    if (!(length > 1)) return;
    const fade = context.createLinearGradient(0, points[0].y, 0, points.at(-1).y);
    for (const { y, age } of points.filter((_, k) => k % 5 === 0 || k === points.length - 1)) {
      const alpha = TRAIL.fade * Math.max(1 - age, 0) ** TRAIL.power;
      fade.addColorStop(Math.min(Math.max((y - points[0].y) / length, 0), 1), `rgb(${this.trail.join(" ")} / ${alpha.toFixed(3)})`);
    }
    const half = (age) => TRAIL.halfWidth * (1 - TRAIL.taper * age) * scale;
    context.beginPath();
    for (const { x, y, age } of points) context.lineTo(x - half(age), y);
    for (const { x, y, age } of points.toReversed()) context.lineTo(x + half(age), y);
    context.fillStyle = fade;
    context.fill();
  }
}
