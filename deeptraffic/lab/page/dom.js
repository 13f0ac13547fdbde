// What the page's modules share: its elements, workers, numbers as text, and its message.
export const $ = (id) => document.getElementById(id);
export const worker = (name) => new Worker(new URL(name, import.meta.url), { type: "module" });
export const mph = (value) => value === null || value === undefined ? "–" : value.toFixed(1);
export const whole = (value) => Math.round(value).toLocaleString("en");

/** Let the visitor save a file. */
export function download(content, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type: "application/octet-stream" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export function complain(text) {
  $("message").textContent = text;
  $("message").hidden = !text;
}
