// A submission's page while it waits or runs: polls its progress, and reloads the page at the end.

const panel = document.querySelector("[data-progress]");
if (panel) {
  const part = (name) => panel.querySelector(`[data-part="${name}"]`);
  let wait = 1000;
  const ask = async () => {
    try {
      const answer = await fetch(panel.dataset.progress, { headers: { Accept: "application/json" } });
      if (!answer.ok) throw new Error(String(answer.status));
      const now = await answer.json();
      if (now.finished || now.state_group !== panel.dataset.state) { location.reload(); return; }
      part("words").textContent = now.words;
      part("bar").max = now.runs_total || 1;
      if (now.state_group === "running") part("bar").value = now.runs_done;
      wait = now.state_group === "running" ? 700 : Math.min(wait * 1.3, 5000);
    } catch {
      wait = Math.min(wait * 2, 15000);
    }
    setTimeout(ask, wait);
  };
  setTimeout(ask, wait);
}
