// Light, dark, or the system's theme. Loaded before the page is painted, so that it never flashes.
(() => {
  const root = document.documentElement;
  const key = "deeptraffic-theme";
  const saved = () => { try { return localStorage.getItem(key); } catch { return null; } };
  const apply = (name) => { if (name === "light" || name === "dark") root.dataset.theme = name; else delete root.dataset.theme; };
  apply(saved());
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.querySelector("[data-theme-button]");
    if (!button) return;
    button.hidden = false;
    button.addEventListener("click", () => {
      const light = root.dataset.theme ? root.dataset.theme === "light" : matchMedia("(prefers-color-scheme: light)").matches;
      const name = light ? "dark" : "light";
      apply(name);
      try { localStorage.setItem(key, name); } catch { /* a page without storage forgets the choice */ }
      document.dispatchEvent(new Event("themechange"));
    });
  });
})();
