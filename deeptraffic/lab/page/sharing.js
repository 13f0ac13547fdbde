// Links that hold settings and, where it fits, a network: in the fragment, which no server sees.
const MOST_CHARACTERS = 16_000; // of a link that mail and chat programs pass on whole

async function through(stream, bytes) {
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());
}

function toText(bytes) {
  let text = "";
  for (let k = 0; k < bytes.length; k += 32768) text += String.fromCharCode(...bytes.subarray(k, k + 32768));
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

const toBytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
const packed = async (bytes) => toText(await through(new CompressionStream("deflate-raw"), bytes));
const unpacked = (text) => through(new DecompressionStream("deflate-raw"), toBytes(text));

/** A link to this page: { link, hasNetwork }. */
export async function linkTo(settings, network) {
  const start = `${location.origin}${location.pathname}#settings=${await packed(new TextEncoder().encode(JSON.stringify(settings)))}`;
  const link = network ? `${start}&network=${await packed(network)}` : start;
  return link.length <= MOST_CHARACTERS ? { link, hasNetwork: Boolean(network) } : { link: start, hasNetwork: false };
}

/** What a link's fragment holds: { settings, network }, of which the network may be missing; null if it is no such link. */
export async function readLink(fragment) {
  const parts = new URLSearchParams(fragment.replace(/^#/, ""));
  if (!parts.has("settings")) return null;
  try {
    const settings = JSON.parse(new TextDecoder().decode(await unpacked(parts.get("settings"))));
    return { settings, network: parts.has("network") ? await unpacked(parts.get("network")) : null };
  } catch {
    throw new Error("the link is damaged: a part of it is missing");
  }
}
