// Films of the road, a GIF or a video, with speed, cars passed and driver; and the look of the car.
import { $, complain, mph, worker } from "./dom.js";
import { advance, chosen, events, hold, names, pause, view } from "./driving.js";
import { FACTS } from "./facts.js";
import { feet, rival, rivalName } from "./race.js";
import { RoadView } from "./road.js";

const GIF = { width: 252, height: 448, delay: 5 }; // [pixels], [1/100 s]
const VIDEO = { width: 540, height: 960, bits: 6e6 };
const VIDEO_TYPES = ["video/webm;codecs=vp9", "video/webm;codecs=vp8", "video/webm", "video/mp4"];
const next = (kind) => new Promise((resolve) => { events.addEventListener(kind, ({ detail }) => resolve(detail), { once: true }); });
const wait = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

/** A canvas of its own, with the road and its read-outs as they are now. */
class Film {
  constructor({ width, height }) {
    this.canvas = Object.assign(document.createElement("canvas"), { width, height });
    this.view = new RoadView(this.canvas, [width, height]);
  }

  async start() {
    await this.view.setTheme(view.theme);
    Object.assign(this.view, { trail: view.trail });
    await this.view.setCar(view.car);
    this.style = getComputedStyle(document.documentElement);
    this.draw(view.shown);
  }

  draw(frame) {
    this.view.draw(frame);
    const { context, canvas } = this.view;
    const unit = canvas.height / 448;
    const write = (text, x, y, size, weight, colour = "--text") => {
      context.font = `${weight} ${size * unit}px ${this.style.getPropertyValue("--sans")}`;
      context.fillStyle = this.style.getPropertyValue(colour);
      context.fillText(text, x * unit, y * unit);
    };
    const sides = [["left", 10, `${frame.speed}`, "mph"], ["right", 242, `${frame.passed}`, "passed"]];
    context.textBaseline = "alphabetic";
    for (const [side, x, value, what] of sides) {
      context.textAlign = side;
      write(value, x, 34, 28, 800);
      write(what, x, 48, 11, 400, "--muted");
    }
    context.textAlign = "left";
    context.globalAlpha = 0.75;
    context.fillStyle = this.style.getPropertyValue("--page");
    context.fillRect(0, canvas.height - 26 * unit, canvas.width, 26 * unit);
    context.globalAlpha = 1;
    const gap = frame.rival && rival ? frame.rival.gap * FACTS.feetPerPx : null;
    const race = gap === null ? "" : `: ${feet(gap)} ${gap < 0 ? "behind" : "ahead of"} ${rivalName()}`;
    write(`${names[chosen] ?? "driven by hand"}${race}`, 10, 439, 11, 700);
    if (gap === null) {
      context.textAlign = "right";
      write(frame.mean === null ? "" : `mean ${mph(frame.mean)} mph`, 242, 439, 11, 400, "--muted");
    }
  }
}

function save(content, type, name) {
  const link = document.createElement("a");
  const blob = new Blob(content, { type });
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  return `${name}: ${(blob.size / 1e6).toFixed(1)} MB.`;
}

/** Every picture is as many frames after the one before as the pace says, however fast this machine is. */
async function makeGif(seconds, progress) {
  const film = new Film(GIF);
  const encoder = worker("encode.js");
  await film.start();
  encoder.postMessage({ kind: "start", ...GIF });
  hold("film", true);
  try {
    const count = Math.round(100 * seconds / GIF.delay);
    let [due, at] = [0, performance.now()];
    for (let k = 0; k < count; k++) {
      due += 0.6 * GIF.delay * FACTS.paces[$("pace").value];
      const shown = next("frame");
      advance(Math.floor(due));
      due %= 1;
      const frame = await shown;
      film.draw(frame);
      const { data } = film.view.context.getImageData(0, 0, GIF.width, GIF.height);
      encoder.postMessage({ kind: "picture", bytes: data }, [data.buffer]);
      progress(0.7 * (k + 1) / count);
      if (frame.hasEnded) break;
      at = Math.max(at + 10 * GIF.delay, performance.now() - 100);
      await wait(at - performance.now());
    }
  } finally {
    hold("film", false);
  }
  encoder.postMessage({ kind: "finish" });
  const bytes = await new Promise((resolve, reject) => {
    encoder.onerror = () => reject(new Error("the GIF could not be made"));
    encoder.onmessage = ({ data }) => data.kind === "progress" ? progress(0.7 + 0.3 * data.part) : resolve(data.bytes);
  });
  encoder.terminate();
  return save([bytes], "image/gif", "deeptraffic.gif");
}

async function makeVideo(seconds, progress) {
  const type = VIDEO_TYPES.find((each) => globalThis.MediaRecorder?.isTypeSupported(each));
  if (!type) throw new Error("this browser records no video; make a GIF");
  const film = new Film(VIDEO);
  await film.start();
  const recorder = new MediaRecorder(film.canvas.captureStream(), { mimeType: type, videoBitsPerSecond: VIDEO.bits });
  const parts = [];
  recorder.ondataavailable = ({ data }) => parts.push(data);
  const stopped = new Promise((resolve) => { recorder.onstop = resolve; });
  const draw = ({ detail }) => film.draw(detail);
  events.addEventListener("frame", draw);
  recorder.start();
  pause(false);
  const started = performance.now();
  for (let passed = 0; passed < 1; passed = (performance.now() - started) / (1000 * seconds)) {
    progress(passed);
    await wait(100);
  }
  recorder.stop();
  await stopped;
  events.removeEventListener("frame", draw);
  return save(parts, type, type.startsWith("video/mp4") ? "deeptraffic.mp4" : "deeptraffic.webm");
}

async function make(how) {
  const buttons = [$("film-gif"), $("film-video")];
  for (const each of buttons) each.disabled = true;
  const progress = (part) => { $("film-status").textContent = `Filming, ${Math.floor(100 * part)}%`; };
  progress(0);
  try {
    $("film-status").textContent = await how(Number($("film-length").value), progress);
  } catch (error) {
    $("film-status").textContent = `No film: ${error.message}.`;
  } finally {
    for (const each of buttons) each.disabled = false;
  }
}

$("film-gif").addEventListener("click", () => make(makeGif));
$("film-video").addEventListener("click", () => make(makeVideo));

// --- look ------------------------------------------------------------------------------------------------------------

$("trail").append(...Object.keys(FACTS.trail.colours).map((name) => new Option(name)));
$("trail").addEventListener("change", () => showTrail($("trail").value));

/** Give the trail a colour, by its name. */
export function showTrail(name) {
  $("trail").value = name;
  view.trail = FACTS.trail.colours[name];
  view.redraw();
}
showTrail("yellow");

const { types: TYPES, maxBytes, minSide, maxSide } = FACTS.carImage;

/** The picture in an image file; Error with the reason where it cannot be a car. It stays in this page. */
async function readCar(file) {
  if (!TYPES.includes(file.type)) throw new Error(`${file.name} is no PNG, JPEG or WebP image`);
  if (file.size > maxBytes) throw new Error(`${file.name} is larger than ${maxBytes >> 20} MiB; scale it down`);
  const image = await createImageBitmap(file).catch(() => { throw new Error(`${file.name} cannot be read as an image`); });
  const sides = [image.width, image.height];
  if (!sides.every((side) => side >= minSide && side <= maxSide)) {
    throw new Error(`${file.name} must have sides of ${minSide} to ${maxSide} pixels, not ${sides.join(" x ")}`);
  }
  const small = new OffscreenCanvas(16, 32).getContext("2d");
  small.drawImage(image, 0, 0, 16, 32);
  const opaque = small.getImageData(0, 0, 16, 32).data.filter((value, k) => k % 4 === 3 && value > 60).length;
  if (opaque < 100) throw new Error(`hardly anything can be seen in ${file.name}; give it a body`);
  return image;
}

$("car").addEventListener("change", async ({ target }) => {
  const [file] = target.files;
  target.value = "";
  if (!file) return;
  try {
    await view.setCar(await readCar(file));
    complain("");
    $("car-reset").disabled = false;
  } catch (error) {
    complain(`${error.message}.`);
  }
});
$("car-reset").addEventListener("click", () => { view.setCar(null); $("car-reset").disabled = true; });
