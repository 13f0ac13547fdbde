// Worker that makes a GIF file of pictures.
import { GifEncoder } from "./gif.js";

let encoder;
const HANDLERS = {
  start({ width, height, delay }) { encoder = new GifEncoder(width, height, delay); },
  picture({ bytes }) { encoder.add(bytes); },
  finish() {
    const bytes = encoder.finish((part) => postMessage({ kind: "progress", part }));
    postMessage({ kind: "file", bytes }, [bytes.buffer]);
  },
};
onmessage = ({ data }) => HANDLERS[data.kind](data);
