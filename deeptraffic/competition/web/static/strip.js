// The leader's median run beside the board, which plays by itself unless the user prefers reduced motion.
import { FRAMES_PER_SECOND, Track } from "./track.js";
import { Road } from "./road.js";

async function start(strip) {
  const part = (name) => strip.querySelector(`[data-part="${name}"]`);
  let track;
  try {
    track = await Track.load(strip.dataset.track);
  } catch {
    strip.hidden = true;
    return;
  }
  const road = new Road(strip.querySelector("canvas"), track, strip.dataset.trail);
  let frame = 300 % track.frames;
  let last = 0;
  let seen = true;
  let paused = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const show = () => {
    road.draw(frame);
    part("speed").textContent = track.speed(frame);
    part("passed").textContent = track.passedAt(frame);
  };
  const tick = (now) => {
    if (!seen || paused) { last = 0; return; }
    frame = (frame + (last ? Math.min(now - last, 100) / 1000 : 0) * FRAMES_PER_SECOND) % track.frames;
    last = now;
    show();
    requestAnimationFrame(tick);
  };
  const button = part("pause");
  const label = () => { button.textContent = paused ? "Play" : "Pause"; };
  button.addEventListener("click", () => { paused = !paused; label(); if (!paused) requestAnimationFrame(tick); });
  button.hidden = false;
  label();
  new IntersectionObserver(([entry]) => {
    seen = entry.isIntersecting;
    if (seen) requestAnimationFrame(tick);
  }).observe(strip);
  document.addEventListener("themechange", show);
  show();
  strip.dataset.ready = "yes";
}

const strip = document.querySelector("[data-strip]");
if (strip) start(strip);
