// GIF files: one palette for the whole film, exact delays, and only what has changed in each picture.
const BINS = 1 << 15; // colours of 5 bits a channel
const CODES = 4096;

/** Encoder of pictures of one size; `delay` between two of them [1/100 s]. Add all, then finish. */
export class GifEncoder {
  constructor(width, height, delay) {
    Object.assign(this, { width, height, delay, pictures: [] });
    this.counts = new Uint32Array(BINS);
    this.sums = [0, 1, 2].map(() => new Float64Array(BINS));
  }

  /** Add a picture, RGBA bytes. */
  add(bytes) {
    const picture = new Uint16Array(this.width * this.height);
    for (let k = 0; k < picture.length; k++) {
      const [red, green, blue] = [bytes[4 * k], bytes[4 * k + 1], bytes[4 * k + 2]];
      const bin = (red >> 3) << 10 | (green >> 3) << 5 | blue >> 3;
      picture[k] = bin;
      this.counts[bin] += 1;
      this.sums[0][bin] += red;
      this.sums[1][bin] += green;
      this.sums[2][bin] += blue;
    }
    this.pictures.push(picture);
  }

  /** The file's bytes; `onProgress` is called with the part that is done. */
  finish(onProgress) {
    const { width, height, pictures, delay } = this;
    const { colours, indexOf } = makePalette(this.counts, this.sums, 255);
    const clear = 255; // the transparent colour: as in the picture before
    const out = new Bytes();
    out.text("GIF89a").short(width).short(height).add(0xf7, 0, 0);
    for (let k = 0; k < 256; k++) out.add(...(colours[k] ?? [0, 0, 0]));
    out.add(0x21, 0xff, 11).text("NETSCAPE2.0").add(3, 1, 0, 0, 0); // for ever
    let before = null;
    pictures.forEach((picture, n) => {
      const indices = new Uint8Array(picture.length);
      for (let k = 0; k < picture.length; k++) indices[k] = before && picture[k] === before[k] ? clear : indexOf[picture[k]];
      out.add(0x21, 0xf9, 4, 1 << 2 | 1).short(delay).add(clear, 0);
      out.add(0x2c).short(0).short(0).short(width).short(height).add(0, 8);
      compress(indices, out);
      before = picture;
      onProgress?.((n + 1) / pictures.length);
    });
    return out.add(0x3b).bytes;
  }
}

/** Median cut: at most `most` colours of boxes that are halved where their pixels differ most. */
function makePalette(counts, sums, most) {
  const used = [...counts.keys()].filter((bin) => counts[bin]);
  const channel = (bin, k) => bin >> 10 - 5 * k & 31;
  const box = (bins) => {
    const count = bins.reduce((sum, bin) => sum + counts[bin], 0);
    const variances = [0, 1, 2].map((k) => {
      const mean = bins.reduce((sum, bin) => sum + counts[bin] * channel(bin, k), 0) / count;
      return bins.reduce((sum, bin) => sum + counts[bin] * (channel(bin, k) - mean) ** 2, 0);
    });
    const widest = variances.indexOf(Math.max(...variances));
    // the root of the count: small parts, such as a car's lights, keep colours of their own
    return { bins, widest, spread: variances[widest] / Math.sqrt(count) };
  };
  const boxes = [box(used)];
  while (boxes.length < most) {
    boxes.sort((a, b) => a.spread - b.spread);
    if (!boxes.at(-1).spread) break;
    const { bins, widest } = boxes.pop();
    bins.sort((a, b) => channel(a, widest) - channel(b, widest));
    const total = bins.reduce((sum, bin) => sum + counts[bin] * channel(bin, widest), 0);
    const mean = total / bins.reduce((sum, bin) => sum + counts[bin], 0);
    const cut = bins.findIndex((bin) => channel(bin, widest) > mean);
    boxes.push(box(bins.slice(0, cut)), box(bins.slice(cut)));
  }
  const indexOf = new Uint8Array(BINS);
  const colours = boxes.map(({ bins }, index) => {
    const count = bins.reduce((sum, bin) => sum + counts[bin], 0);
    for (const bin of bins) indexOf[bin] = index;
    return sums.map((sum) => Math.round(bins.reduce((all, bin) => all + sum[bin], 0) / count));
  });
  return { colours, indexOf };
}

const children = new Uint16Array(CODES * 256);

/** LZW with codes of 9 to 12 bits, in blocks of 255 bytes. */
function compress(indices, out) {
  const [CLEAR, END] = [256, 257];
  let [size, next, held, bits] = [9, 258, 0, 0];
  const block = [];
  const put = (code) => {
    held |= code << bits;
    bits += size;
    while (bits >= 8) {
      block.push(held & 255);
      [held, bits] = [held >>> 8, bits - 8];
      if (block.length === 255) flush();
    }
  };
  const flush = () => {
    if (block.length) out.add(block.length).list(block);
    block.length = 0;
  };
  children.fill(0);
  put(CLEAR);
  let code = indices[0];
  for (let k = 1; k < indices.length; k++) {
    const at = code << 8 | indices[k];
    if (children[at]) {
      code = children[at];
      continue;
    }
    put(code);
    if (next < CODES) {
      if (next === 1 << size) size += 1;
      children[at] = next++;
    } else {
      put(CLEAR);
      children.fill(0);
      [size, next] = [9, 258];
    }
    code = indices[k];
  }
  put(code);
  if (next === 1 << size && size < 12) size += 1;
  put(END);
  if (bits) block.push(held & 255);
  flush();
  out.add(0);
}

class Bytes {
  constructor() {
    [this.room, this.length] = [new Uint8Array(1 << 16), 0];
  }

  add(...values) {
    return this.list(values);
  }

  list(values) {
    if (this.length + values.length > this.room.length) {
      const larger = new Uint8Array(2 * this.room.length);
      larger.set(this.room);
      this.room = larger;
    }
    this.room.set(values, this.length);
    this.length += values.length;
    return this;
  }

  short(value) {
    return this.add(value & 255, value >> 8);
  }

  text(text) {
    return this.list(new TextEncoder().encode(text));
  }

  get bytes() {
    return this.room.slice(0, this.length);
  }
}
