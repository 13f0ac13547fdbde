// The road on a canvas: surface, trail, overlays, vehicles. The style is that of the package's own pictures.

const CAR_WIDTH = 15;
const CAR_LENGTH = 34;
const LANE = 20;
const CELL = 10;
const TRAIL_FRAMES = 100;
const VERGE = 18; // px shown on either side of the road

export const OVERLAYS = ["none", "input", "map"];

const DARK = {
  verge: "#181f24", post: "#54626e", asphalt: "#343a44", mark: "#8e97a5", edge: "#dee3ea",
  traffic: ["#f6f8fa", "#dee2e8", "#c6ccd4", "#b0b7c1"], glass: "#242b36", lamp: "#fff0be", tail: "#a83a34",
  agent: "#c43e30", ego: "#ff543e", rim: "#ffffff", free: "rgba(64,176,255,0.20)", dot: "rgba(64,176,255,0.95)",
  slow: [255, 236, 150], fast: [255, 140, 0], beyond: "rgba(150,160,175,0.16)",
};
const LIGHT = {
  ...DARK, verge: "#dee5de", post: "#a8b2ac", asphalt: "#707782", mark: "#c4cad2", edge: "#fafbfc",
  traffic: ["#ffffff", "#eef1f4", "#dee2e7", "#ced4db"], glass: "#343c48", lamp: "#fff3cc", tail: "#b0423c",
  agent: "#961e1a", ego: "#ff4830", free: "rgba(20,90,200,0.24)", dot: "rgba(214,232,255,0.95)", slow: [255, 240, 160], fast: [255, 150, 0],
};

function style() {
  const chosen = document.documentElement.dataset.theme;
  const light = chosen ? chosen === "light" : matchMedia("(prefers-color-scheme: light)").matches;
  return light ? LIGHT : DARK;
}

function mix(a, b, fraction) {
  return `rgb(${a.map((value, k) => Math.round(value + (b[k] - value) * fraction)).join(",")})`;
}

export class Road {
  // canvas: drawn to at the size at which the page shows it
  // trail: its colour as "red,green,blue"; track: a Track; sensor: {lanes_side, patches_ahead, patches_behind} of what the driver sees, or null
  constructor(canvas, track, trail, sensor = null) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.track = track;
    this.sensor = sensor;
    this.overlay = "none";
    this.trail = trail;
    this.hasTrail = true;
  }

  // Fit the canvas to its place: whole road width, and as much of its length as there is room for around the ego car.
  fit() {
    const box = this.canvas.getBoundingClientRect();
    const ratio = Math.min(window.devicePixelRatio || 1, 3);
    const width = Math.max(1, Math.round(box.width * ratio));
    const height = Math.max(1, Math.round(box.height * ratio));
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    const { track } = this;
    this.scale = Math.max(width / (track.width + 2 * VERGE), height / track.length);
    if (this.scale * (track.width + 2) > width) this.scale = width / (track.width + 2 * VERGE);
    this.left = -(width / this.scale - track.width) / 2;
    const visible = height / this.scale;
    this.top = visible >= track.length ? (track.length - visible) / 2 : Math.min(525 + 70 - visible * 0.9, track.length - visible);
    this.top = Math.max(this.top, visible >= track.length ? this.top : 0);
  }

  draw(frame) {
    this.fit();
    const { context, canvas, scale } = this;
    this.colours = style();
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = this.colours.verge;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.setTransform(scale, 0, 0, scale, -this.left * scale, -this.top * scale);
    this.drawSurface(this.track.groundAt(frame));
    if (this.overlay !== "none") this.drawCells(frame);
    if (this.hasTrail) this.drawTrail(frame);
    for (let vehicle = this.track.vehicles - 1; vehicle >= 0; vehicle--) this.drawCar(vehicle, frame);
  }

  drawSurface(ground) {
    const { context, colours, track } = this;
    const top = this.top - 10;
    const height = this.canvas.height / this.scale + 20;
    context.fillStyle = colours.asphalt;
    context.fillRect(-2.5, top, track.width + 5, height);
    context.fillStyle = "rgba(255,255,255,0.022)";
    for (let lane = 1; lane < track.lanes; lane += 2) context.fillRect(lane * LANE, top, LANE, height);
    context.fillStyle = colours.edge;
    context.fillRect(-1.5, top, 1.8, height);
    context.fillRect(track.width - 0.3, top, 1.8, height);
    const bars = (period, length, xs, width, colour) => {
      context.fillStyle = colour;
      const first = Math.floor((top - ground) / period) * period + ground;
      for (let y = first; y < top + height; y += period) for (const x of xs) context.fillRect(x - width / 2, y, width, length);
    };
    bars(40, 16, Array.from({ length: track.lanes - 1 }, (_, k) => (k + 1) * LANE), 1.4, colours.mark);
    bars(80, 6, [-6.5, track.width + 6.5], 2.6, colours.post);
  }

  drawTrail(frame) {
    const { context, track } = this;
    const [entry] = track.at(frame);
    const ground = track.groundAt(frame);
    const oldest = Math.max(0, entry - TRAIL_FRAMES / track.step);
    let [fromX, fromY] = track.place(0, frame);
    context.lineCap = "butt";
    for (let k = entry; k > oldest; k--) {
      const age = (entry - k) / (TRAIL_FRAMES / track.step);
      const x = track.x[0][k];
      const y = track.y[0][k] + ground - track.ground[k];
      if (Math.abs(y - fromY) > 60) break;
      context.strokeStyle = `rgba(${this.trail},${(0.85 * (1 - age) ** 0.8).toFixed(3)})`;
      context.lineWidth = 8.4 * (1 - 0.55 * age);
      context.beginPath();
      context.moveTo(fromX + CAR_WIDTH / 2, fromY + CAR_LENGTH / 2);
      context.lineTo(x + CAR_WIDTH / 2, y + CAR_LENGTH / 2 + 0.4);
      context.stroke();
      [fromX, fromY] = [x, y];
    }
  }

  // The speed that each cell of the grid reads, as the game marks it; -1 where the road is free.
  cells(frame) {
    const { track } = this;
    const grid = new Float32Array(track.lanes * track.rows).fill(-1);
    for (let vehicle = 0; vehicle < track.vehicles; vehicle++) this.mark(grid, vehicle, frame);
    this.mark(grid, 0, frame);
    return grid;
  }

  mark(grid, vehicle, frame) {
    const { track } = this;
    const [x, y] = track.place(vehicle, frame);
    const speed = track.ownSpeed(vehicle, frame);
    for (const dx of [0, 10]) for (let dy = 0; dy <= 30; dy += 5) {
      const column = Math.floor((x + dx) / LANE);
      const line = Math.floor((y + dy) / CELL);
      if (column >= 0 && column < track.lanes && line >= 0 && line < track.rows) grid[line * track.lanes + column] = speed;
    }
  }

  drawCells(frame) {
    const { track, sensor } = this;
    const grid = this.cells(frame);
    if (this.overlay === "map" || !sensor) {
      for (let k = 0; k < grid.length; k++) if (grid[k] >= 0) this.tile(k % track.lanes, Math.floor(k / track.lanes), grid[k]);
      return;
    }
    const [x, y] = track.place(0, frame);
    const lane = Math.floor((x + CAR_WIDTH / 2) / LANE);
    const base = track.year === 2018 ? Math.floor(Math.floor(y) / CELL) : 52;
    for (let r = -sensor.patches_ahead; r < sensor.patches_behind; r++) for (let s = -sensor.lanes_side; s <= sensor.lanes_side; s++) {
      const [column, line] = [lane + s, base + r];
      const onRoad = column >= 0 && column < track.lanes && line >= 0 && line < track.rows;
      this.tile(column, line, onRoad ? grid[line * track.lanes + column] : null);
    }
  }

  tile(column, line, speed) {
    const { context, colours } = this;
    const [x, y] = [column * LANE, line * CELL];
    if (speed === null) {
      context.strokeStyle = colours.beyond;
      context.lineWidth = 0.6;
      context.strokeRect(x + 0.8, y + 0.8, LANE - 1.6, CELL - 1.6);
    } else if (speed < 0) {
      context.fillStyle = colours.free;
      context.fillRect(x + 0.5, y + 0.5, LANE - 1, CELL - 1);
      context.fillStyle = colours.dot;
      context.fillRect(x + LANE / 2 - 0.7, y + CELL / 2 - 0.7, 1.4, 1.4);
    } else {
      context.fillStyle = mix(colours.slow, colours.fast, Math.min(speed / 2, 1));
      context.globalAlpha = 0.8;
      context.fillRect(x + 0.5, y + 0.5, LANE - 1, CELL - 1);
      context.globalAlpha = 1;
    }
  }

  drawCar(vehicle, frame) {
    const { context, colours, track } = this;
    const [x, y] = track.place(vehicle, frame);
    const ego = vehicle === 0;
    const driven = vehicle <= track.others;
    const body = ego ? colours.ego : driven ? colours.agent : colours.traffic[vehicle % 4];
    const box = (cx, cy, halfX, halfY, radius, colour) => {
      context.fillStyle = colour;
      context.beginPath();
      context.roundRect(cx - halfX, cy - halfY, 2 * halfX, 2 * halfY, Math.min(radius, halfX, halfY));
      context.fill();
    };
    context.save();
    context.translate(x + CAR_WIDTH / 2, y + CAR_LENGTH / 2);
    box(0, 0.9, 8.4, 17.8, 5, "rgba(0,0,0,0.32)");
    if (ego) box(0, 0, 8.8, 18.3, 5.8, colours.rim);
    box(0, 0, 7.5, 17, 4.6, body);
    box(0, 0, 7.5, 17, 4.6, "rgba(0,0,0,0.2)");
    box(0, 0, 6.7, 16.3, 4, body);
    box(0, -12.2, 4.6, 3.2, 2.4, "rgba(255,255,255,0.25)");
    for (const side of [-1, 1]) {
      box(side * 4.9, -15.3, 1.7, 0.9, 0.8, colours.lamp);
      box(side * 4.9, 15.6, 1.9, 0.8, 0.7, colours.tail);
    }
    box(0, -5.8, 5.7, 3, 2, colours.glass);
    box(0, 10.6, 5.2, 2, 1.3, colours.glass);
    box(0, 2.6, 6.1, 6.4, 2.2, colours.glass);
    box(0, 2.6, 4.9, 7, 2, body);
    if (ego) for (const side of [-1, 1]) {
      box(side * 1.9, 2.6, 0.8, 6.6, 0.3, colours.rim);
      box(side * 1.9, -12.4, 0.8, 3, 0.3, colours.rim);
    }
    context.restore();
  }
}
