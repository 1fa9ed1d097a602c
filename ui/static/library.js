// The library of masks: buttons with data-do inside an HTML component fire its events. Picks of
// several masks live here; names are edited in place. All that is sent is checked by the server.
window.rlkvLibrary = (() => {
  const picked = new Set();
  const base = () => new URL("./", location.href).href;

  const paint = (root) => {
    const boxes = [...root.querySelectorAll("[data-pick]")];
    for (const box of boxes) box.checked = picked.has(box.closest("[data-key]").dataset.key);
    const bar = root.querySelector(".chosen");
    if (!bar) return;
    const there = new Set(boxes.map((box) => box.closest("[data-key]").dataset.key));
    for (const key of [...picked]) if (!there.has(key)) picked.delete(key);
    bar.hidden = picked.size === 0;
    const count = bar.querySelector("[data-chosen]");
    // Written only if it changed: the observer below sees this write too.
    if (count.textContent !== String(picked.size)) count.textContent = picked.size;
    bar.querySelector("[data-do=compare]").disabled = picked.size !== 2;
    bar.querySelector("[data-do=average]").disabled = picked.size < 2;
  };

  const rename = (row, send) => {
    const name = row.querySelector("[data-name]");
    if (!name || row.querySelector(".renaming")) return;
    const field = document.createElement("input");
    field.className = "renaming";
    field.maxLength = 80;
    field.value = name.textContent;
    field.setAttribute("aria-label", "New name");
    name.hidden = true;
    name.after(field);
    let open = true;
    const done = (keep) => {
      if (!open) return;
      open = false;
      const wanted = field.value.trim();
      const changed = keep && wanted && wanted !== name.textContent;
      field.remove();
      name.hidden = false;
      if (changed) send("rename", { key: row.dataset.key, name: wanted });
      else row.querySelector("[data-do=rename]")?.focus();
    };
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter") done(true);
      if (event.key === "Escape") done(false);
    });
    field.addEventListener("blur", () => done(true));
    field.focus();
    field.select();
  };

  const copy = async (root, button) => {
    const field = root.querySelector(".copy input");
    try {
      await navigator.clipboard.writeText(field.value);
    } catch {
      field.select();
      document.execCommand("copy");
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1600);
  };

  const act = (root, button, send) => {
    const row = button.closest("[data-key]");
    const key = row?.dataset.key;
    const what = button.dataset.do;
    if (what === "rename") return rename(row, send);
    if (what === "copy") return copy(root, button);
    if (what === "clear") { picked.clear(); return paint(root); }
    if (what === "compare") {
      const [one, other] = picked;
      const query = new URLSearchParams({ mask: one, view: "difference", other });
      location.href = `./heads?${query}`;
      return;
    }
    if (what === "average") {
      send("average", { keys: [...picked] });
      picked.clear();
      return paint(root);  // a refusal draws no list anew
    }
    if (what === "keep-all") return send("keep_all", {});
    if (what === "keep" || what === "discard") {
      const card = button.closest("[data-n]").closest(".import");
      const model = card?.querySelector("[data-model]")?.value || "";
      return send(what, { n: Number(button.dataset.n), model });
    }
    if (what === "take") {
      button.closest("details").open = false;
      return send("take", { key, form: button.dataset.form });
    }
    if (what === "link") {  // not "share": Gradio keeps that name for itself
      if (root.id === "shelf") setTimeout(() => {
        document.querySelector("#share")?.scrollIntoView({ block: "nearest" });
      }, 400);
      return send("link", { key, base: base(), page: button.dataset.page || "heads" });
    }
    send(what, { key });
  };

  const mount = (root, events) => {
    const send = (name, data) => events[name]?.(data);
    root.addEventListener("click", (event) => {
      const button = event.target.closest("[data-do]");
      if (button && !button.disabled) act(root, button, send);
    });
    root.addEventListener("change", (event) => {
      const box = event.target.closest("[data-pick]");
      if (!box) return;
      const key = box.closest("[data-key]").dataset.key;
      if (box.checked) picked.add(key); else picked.delete(key);
      paint(root);
    });
    // One export menu is open at a time, and a click elsewhere closes it.
    document.addEventListener("click", (event) => {
      for (const menu of root.querySelectorAll(".does details[open]"))
        if (!menu.contains(event.target)) menu.open = false;
    });
    new MutationObserver(() => paint(root)).observe(root, { childList: true, subtree: true });
    paint(root);
  };
  return { mount };
})();
