// The submit form: drop a file on it, and see at once if the file is too large.

const form = document.querySelector("[data-upload]");
if (form) {
  const drop = form.querySelector(".drop");
  const input = form.querySelector("input[type=file]");
  const message = form.querySelector("[data-part=message]");
  const button = form.querySelector("button");
  const limit = Number(form.dataset.limit);
  const check = () => {
    const file = input.files[0];
    const tooLarge = Boolean(file) && file.size > limit;
    message.textContent = !file ? "" : tooLarge
      ? `${file.name} has ${(file.size / 1e6).toFixed(1)} MB; at most ${(limit / 1e6).toFixed(0)} MB are accepted.`
      : `${file.name}, ${(file.size / 1000).toLocaleString(undefined, { maximumFractionDigits: 1 })} kB`;
    button.disabled = tooLarge;
  };
  input.addEventListener("change", check);
  for (const name of ["dragover", "dragenter"]) drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
  for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length) { input.files = event.dataTransfer.files; check(); }
  });
  form.addEventListener("submit", () => { button.disabled = true; button.textContent = "Uploading …"; });
}
