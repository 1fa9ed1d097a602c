// Runs before the app on every page: keeps the chosen theme between pages and marks the link
// of the page that is open.
(() => {
  const url = new URL(location.href);
  // A browser may forbid storage in a frame of another site, as a Space is shown.
  const stored = (use) => { try { return use(localStorage); } catch { return null; } };
  const saved = stored((storage) => storage.getItem("rlkv-theme"));
  const asked = url.searchParams.get("__theme") || saved;
  const apply = (theme) => document.body?.classList.toggle("dark", theme === "dark");
  if (asked === "dark" || asked === "light") {
    const settle = () => apply(asked);
    document.addEventListener("DOMContentLoaded", settle);
    // Gradio sets its own class while it mounts; ours has the last word.
    for (const wait of [0, 60, 250, 700, 1500]) setTimeout(settle, wait);
  }
  window.rlkvTheme = () => {
    const next = document.body.classList.contains("dark") ? "light" : "dark";
    stored((storage) => storage.setItem("rlkv-theme", next));
    apply(next);
  };
  // A click into a chooser selects what it says, as the Tab key does: what is then typed or pasted
  // takes its place instead of being added to it.
  let entered = null;
  document.addEventListener("focusin", (event) => { entered = event.target; });
  document.addEventListener("click", ({ target }) => {
    if (target === entered && target.matches('input[role="combobox"]')) target.select();
    entered = null;
  });
  // Puts a choice into the address bar, so that a reload or a sent link opens the same view.
  window.rlkvAddress = (key, value) => {
    const here = new URL(location.href);
    if (value) here.searchParams.set(key, value); else here.searchParams.delete(key);
    history.replaceState(history.state, "", here);
  };
})();
