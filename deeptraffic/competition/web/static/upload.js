// The submit form: drop a file on it, see at once if the file is too large, and how much of it has arrived.

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
  const bar = form.querySelector("[data-part=bar]");
  const again = (words) => { message.textContent = words; button.disabled = false; button.textContent = "Submit"; bar.hidden = true; };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const data = new FormData(form); // before anything is disabled
    const request = new XMLHttpRequest(); // fetch does not tell how much it has sent
    request.open("POST", location.href);
    request.setRequestHeader("Accept", "application/json");
    request.responseType = "json";
    button.disabled = true;
    button.textContent = "Uploading …";
    bar.hidden = false;
    bar.value = 0;
    request.upload.addEventListener("progress", ({ loaded, total }) => {
      bar.value = (100 * loaded) / total;
      message.textContent = loaded < total ? `${Math.floor((100 * loaded) / total)}% sent` : "Sent; it is being checked.";
    });
    request.addEventListener("load", () => {
      const { page, error } = request.response || {};
      if (page) { location.assign(page); return; }
      again(error ? `Not accepted: ${error.message}. It did not count.`.replace(/\.\. /, ". ") : "The server failed; try again.");
      if (!error?.subject) return;
      const link = document.createElement("a");
      link.href = `/s/${error.subject}`;
      link.textContent = "See the earlier submission.";
      message.append(" ", link);
    });
    request.addEventListener("error", () => again("The connection broke; it was not counted unless it is under My entries. Try again."));
    request.send(data);
  });
}
