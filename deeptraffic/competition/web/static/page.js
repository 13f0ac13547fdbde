// On every page: times in the reader's time zone, countdowns, confirmation of actions that cannot be undone, copy buttons.

const exact = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", timeZoneName: "short" });
const dayOnly = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
for (const time of document.querySelectorAll("time[datetime]")) {
  const moment = new Date(time.dateTime);
  if (Number.isNaN(moment.valueOf())) continue;
  time.title = time.dataset.kind === "day" ? exact.format(moment) : time.textContent;
  time.textContent = (time.dataset.kind === "day" ? dayOnly : exact).format(moment);
}

document.querySelector(".top nav [aria-current=page]")?.scrollIntoView({ block: "nearest", inline: "center" }); // on phones the menu scrolls

// The server's time counts, so what is left at the page's start is counted down. As rendering.py's duration().
function duration(seconds) {
  const units = [];
  let left = seconds;
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]]) {
    if (left >= size || units.length) { units.push(`${Math.floor(left / size)} ${unit}`); left %= size; }
  }
  return units.slice(0, 2).join(" ") || "0 s";
}
for (const place of document.querySelectorAll("[data-left]")) {
  const end = performance.now() + Number(place.dataset.left);
  const count = () => {
    const left = Math.max(0, Math.floor((end - performance.now()) / 1000));
    place.textContent = left ? `${duration(left)} left` : "closed";
    if (left) setTimeout(count, left > 7200 ? 60000 : 1000);
  };
  count();
}

for (const form of document.querySelectorAll("form[data-confirm]")) {
  form.addEventListener("submit", (event) => { if (!window.confirm(form.dataset.confirm)) event.preventDefault(); });
}

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const text = document.getElementById(button.dataset.copy).textContent.trim();
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Copy it manually";
    }
  });
}
