// The replay page: one or two runs in step, with a scrubber, speeds, overlays and a link to the present moment.
import { FRAMES_PER_SECOND, Track } from "./track.js";
import { OVERLAYS, Road } from "./road.js";

const still = matchMedia("(prefers-reduced-motion: reduce)");

class Player {
  constructor(page) {
    this.page = page;
    this.find = (name) => page.querySelector(`[data-part="${name}"]`);
    this.frame = Math.max(0, Number(new URLSearchParams(location.search).get("frame")) || 0);
    this.rate = 1;
    this.playing = false;
    this.last = 0;
  }

  async start() {
    const figures = [...this.page.querySelectorAll("[data-track]")];
    try {
      const tracks = await Promise.all(figures.map((figure) => Track.load(figure.dataset.track)));
      this.views = figures.map((figure, k) => this.view(figure, tracks[k]));
    } catch (error) {
      this.find("status").textContent = error.message;
      return;
    }
    this.frames = Math.max(...this.views.map((view) => view.road.track.frames));
    this.frame = Math.min(this.frame, this.frames);
    this.connect();
    this.page.dataset.ready = "yes";
    this.find("status").textContent = "";
    this.show();
    if (!still.matches && !new URLSearchParams(location.search).has("frame")) this.play(true);
  }

  view(figure, track) {
    const sensor = figure.dataset.sensor ? JSON.parse(figure.dataset.sensor) : null;
    const part = (name) => figure.querySelector(`[data-part="${name}"]`);
    const spark = part("spark");
    const points = track.speeds.map((speed, entry) => `${((entry * track.step * 300) / track.frames).toFixed(1)},${80 - speed}`);
    spark.querySelector("polyline").setAttribute("points", points.join(" "));
    const road = new Road(figure.querySelector("canvas"), track, figure.dataset.trail, sensor);
    return { road, speed: part("speed"), passed: part("passed"), bar: part("bar"), now: spark.querySelector(".now") };
  }

  connect() {
    const scrubber = this.find("scrubber");
    scrubber.max = this.frames;
    scrubber.disabled = false;
    scrubber.addEventListener("input", () => { this.frame = Number(scrubber.value); this.show(); });
    this.find("play").disabled = false;
    this.find("play").addEventListener("click", () => this.play(!this.playing));
    this.find("rate").addEventListener("change", (event) => { this.rate = Number(event.target.value); });
    this.find("overlay").addEventListener("change", (event) => this.setOverlay(event.target.value));
    this.find("trail").addEventListener("change", (event) => {
      for (const view of this.views) view.road.hasTrail = event.target.checked;
      this.show();
    });
    this.find("link").addEventListener("click", () => this.copyLink());
    this.setOverlay(new URLSearchParams(location.search).get("overlay") || "none");
    document.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.show()).observe(this.page);
    document.addEventListener("themechange", () => this.show());
  }

  setOverlay(name) {
    const overlay = OVERLAYS.includes(name) ? name : "none";
    this.find("overlay").value = overlay;
    for (const view of this.views) view.road.overlay = overlay;
    this.show();
  }

  key(event) {
    if (event.target.closest("input:not([type=range]), select, textarea, button, a") || event.ctrlKey || event.metaKey || event.altKey) return;
    const jumps = { ArrowLeft: -30, ArrowRight: 30, ",": -2, ".": 2 };
    if (event.key === " ") this.play(!this.playing);
    else if (event.key in jumps) this.seek(this.frame + jumps[event.key]);
    else if (event.key === "Home") this.seek(0);
    else if (event.key === "End") this.seek(this.frames);
    else return;
    event.preventDefault();
  }

  seek(frame) {
    this.frame = Math.min(Math.max(frame, 0), this.frames);
    this.show();
  }

  play(on) {
    if (on && this.frame >= this.frames) this.frame = 0;
    this.playing = on;
    this.find("play").textContent = on ? "Pause" : "Play";
    this.last = 0;
    if (on) requestAnimationFrame((now) => this.tick(now));
  }

  tick(now) {
    if (!this.playing) return;
    const passed = this.last ? Math.min(now - this.last, 100) : 0;
    this.last = now;
    this.frame += (passed / 1000) * FRAMES_PER_SECOND * this.rate;
    if (this.frame >= this.frames) {
      this.frame = this.frames;
      this.play(false);
    }
    this.show();
    if (this.playing) requestAnimationFrame((next) => this.tick(next));
  }

  show() {
    for (const { road, speed, passed, bar, now } of this.views) {
      const frame = Math.min(this.frame, road.track.frames);
      road.draw(frame);
      speed.textContent = road.track.speed(frame);
      passed.textContent = String(road.track.passedAt(frame)).replace("-", "−");
      for (const end of ["x1", "x2"]) now.setAttribute(end, ((frame * 300) / road.track.frames).toFixed(1));
      bar.value = road.track.speed(frame);
    }
    const scrubber = this.find("scrubber");
    scrubber.value = Math.round(this.frame);
    scrubber.setAttribute("aria-valuetext", `frame ${Math.round(this.frame)} of ${this.frames}`);
    this.find("time").textContent = `frame ${Math.round(this.frame).toLocaleString()} of ${this.frames.toLocaleString()}`;
  }

  async copyLink() {
    const address = new URL(location.href);
    address.searchParams.set("frame", Math.round(this.frame));
    address.searchParams.set("overlay", this.find("overlay").value);
    history.replaceState(null, "", address);
    try {
      await navigator.clipboard.writeText(address.href);
      this.find("status").textContent = "The link to this moment is copied.";
    } catch {
      this.find("status").textContent = "The address line now holds the link to this moment.";
    }
  }
}

const page = document.querySelector("[data-player]");
if (page) new Player(page).start();
