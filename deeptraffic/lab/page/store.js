// What outlives the page: values by name in the browser's own database, and all of them as the bytes of one file.
const DATABASE = "deeptraffic-lab";
const MAGIC = "deeptraffic-lab 1\n";
const ARRAYS = { Float32Array, Float64Array, BigInt64Array, BigUint64Array, Uint8Array };
const BYTES = "__bytes__"; // stands for an array: [its class, where it begins, its length in bytes]

const settled = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});
let opened;

async function table(mode) {
  opened ??= (() => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore("kept");
    return settled(request);
  })();
  return (await opened).transaction("kept", mode).objectStore("kept");
}

/** Keep a value, also if the page is left at once; where the browser keeps nothing for the page, it is lost with it. */
export async function keep(name, value) {
  try {
    const store = await table("readwrite");
    const request = store.put(value, name);
    store.transaction.commit();
    await settled(request);
  } catch { /* a private window, or a full disk */ }
}

/** The value that was kept, undefined if there is none. */
export async function kept(name) {
  try {
    return await settled((await table("readonly")).get(name));
  } catch {
    return undefined;
  }
}

// --- files ----------------------------------------------------------------------------------------------------------

const isArray = (value) => value?.constructor?.name in ARRAYS;

/** A value with typed arrays as bytes: a line, the length of the JSON, the JSON, and the arrays. */
export function pack(value) {
  const arrays = [];
  let at = 0;
  const json = JSON.stringify(value, (_, each) => {
    if (!isArray(each)) return each;
    arrays.push(new Uint8Array(each.buffer, each.byteOffset, each.byteLength));
    at += each.byteLength;
    return { [BYTES]: [each.constructor.name, at - each.byteLength, each.byteLength] };
  });
  const head = new TextEncoder().encode(json);
  const size = new Uint8Array(8);
  new DataView(size.buffer).setBigUint64(0, BigInt(head.length), true);
  return new Blob([MAGIC, size, head, ...arrays]);
}

/** The value of such bytes; an error where they are none. */
export function unpack(bytes) {
  const start = MAGIC.length + 8;
  if (new TextDecoder().decode(bytes.subarray(0, MAGIC.length)) !== MAGIC) throw new Error("this is no file of the lab");
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(MAGIC.length, true));
  if (start + length > bytes.length) throw new Error("the file breaks off");
  return JSON.parse(new TextDecoder().decode(bytes.subarray(start, start + length)), (_, each) => {
    const [kind, at, size] = each?.[BYTES] ?? [];
    if (kind === undefined) return each;
    const content = bytes.slice(start + length + at, start + length + at + size);
    if (!Object.hasOwn(ARRAYS, kind) || content.length !== size) throw new Error("the file breaks off");
    return new ARRAYS[kind](content.buffer);
  });
}
