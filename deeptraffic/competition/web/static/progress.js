// A submission's page while it waits or runs: polls its progress, shows it in the title, tells when it is scored.

const panel = document.querySelector("[data-progress]");
if (panel) {
  const part = (name) => panel.querySelector(`[data-part="${name}"]`);
  const button = part("notify");
  const rest = document.title.replace(/^[^·]*· /, "");
  const key = "deeptraffic-notify"; // of this tab: which submission's end is to be told
  const wish = (value) => { try { if (value) sessionStorage.setItem(key, value); return sessionStorage.getItem(key); } catch { return value; } };
  let wanted = wish();
  let wait = 1000;

  const label = () => {
    const on = wanted === panel.dataset.progress && Notification.permission === "granted";
    button.disabled = on || Notification.permission === "denied";
    button.textContent = on ? "You will be told when it is scored"
      : Notification.permission === "denied" ? "Your browser blocks notifications of this site" : "Tell me when it is scored";
  };
  if ("Notification" in window) {
    button.hidden = false;
    label();
    button.addEventListener("click", async () => {
      await Notification.requestPermission();
      wanted = wish(panel.dataset.progress);
      label();
    });
  }

  const tell = (words) => {
    if (!("Notification" in window) || wanted !== panel.dataset.progress || Notification.permission !== "granted") return;
    try {
      new Notification(words, { body: panel.dataset.label, tag: panel.dataset.progress });
    } catch { /* some phones allow notifications of service workers alone; the title says it */ }
  };

  const ask = async () => {
    try {
      const answer = await fetch(panel.dataset.progress, { headers: { Accept: "application/json" } });
      if (!answer.ok) throw new Error(String(answer.status));
      const now = await answer.json();
      if (now.finished) { tell(now.words); location.reload(); return; }
      const running = now.state_group === "running";
      const fraction = running && now.runs_total ? `${Math.floor((100 * now.runs_done) / now.runs_total)}%` : "";
      part("title").textContent = running ? "Being scored" : "In the queue";
      document.title = `${running ? `Being scored ${fraction}`.trim() : "In the queue"} · ${rest}`;
      if (part("words").textContent !== now.words) part("words").textContent = now.words;
      part("bar").max = now.runs_total || 1;
      if (running) part("bar").value = now.runs_done;
      else part("bar").removeAttribute("value");
      wait = running ? 700 : Math.min(wait * 1.3, 5000);
    } catch {
      wait = Math.min(wait * 2, 15000);
    }
    setTimeout(ask, wait);
  };
  setTimeout(ask, wait);
}
