// A text as its tokens: how strongly each counts (background), where a chosen token looks, and
// which of that a compressed head could not see. It knows the plain values that
// components/tokens.py makes, and nothing of Gradio or models. All text by textContent.
(() => {
  const { el, svg, format, place } = window.rlkvDom;
  const MARKS = { " ": "·", "\n": "↵", "\t": "⇥", "\r": "␍" };
  const NAMES = { " ": "space", "\n": "new line", "\t": "tab" };
  const shown = (t) => (t === "" ? "∅" : /^\s+$/.test(t) ? [...t].map((c) => MARKS[c] || "·").join("") : t);
  const spoken = (t) => (/^\s+$/.test(t) ? [...t].map((c) => NAMES[c] || "space").join(", ") : t || "empty");

  // Rows of a lower triangle, one byte a weight: weight = (byte / 255)². -> row(i) of i + 1 bytes
  function unpack(packed) {
    const text = atob(packed), bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return (i) => bytes.subarray((i * (i + 1)) / 2, ((i + 1) * (i + 2)) / 2);
  }
  const weightOf = (byte) => (byte / 255) ** 2;

  // What a token is to the one at `query`: itself, a sink, recent, far, or not there yet.
  const roleFor = (j, query, { sink, recent }) =>
    j > query ? "later" : j === query ? "query" : j < sink ? "sink" : query - j < recent ? "recent" : "far";

  const ROLES = {
    sink: "sink: kept by every head", recent: "recent window: kept by every head", far: "far: only a full cache has it",
    query: "this token looks back", later: "not written yet", changed: "this token changes", new: "differs from here on", lost: "forgotten: only a full cache still has it",
  };

  function legendOf(value) {
    const root = el("div", "tok-legend");
    for (const [role, words] of value.legend || []) {
      const key = el("span");
      key.append(el("i", `r-${role}`), words);
      root.append(key);
    }
    return root;
  }

  function build(root) {
    const box = el("div", "toks"), top = el("div", "tok-top"), title = el("b"), say = el("output");
    const list = el("div", "tok-list"), card = el("div", "tok-card");
    top.append(title, say);
    list.tabIndex = 0;
    list.setAttribute("role", "listbox");
    card.hidden = true; card.setAttribute("role", "tooltip");
    box.append(top, list, card);
    root.replaceChildren(box);
    return { box, top, title, say, list, card, spans: [] };
  }

  // The nodes of a text: made once; weights and roles change on them.
  function buildTokens(view, value, id) {
    const parts = [], breaks = new Set(value.breaks || []);
    view.spans = value.texts.map((text, i) => {
      if (breaks.has(i) && i) parts.push(el("br"));
      const span = el("span", "tok", shown(text));
      span.id = `${id}-${i}`; span.dataset.i = i;
      span.setAttribute("role", "option");
      if (/^\s*$/.test(text)) { span.setAttribute("aria-label", spoken(text)); span.classList.add("blank-tok"); }
      span.classList.toggle("short", text.length < 24 && !text.includes("\n"));
      if (/^\s/.test(text)) parts.push(el("wbr")); // lines break between words, not inside a token
      parts.push(span);
      if (/^\s*\n\s*$/.test(text)) parts.push(el("br"));
      return span;
    });
    view.list.replaceChildren(...parts);
  }

  function paintTokens(view, state) {
    const { value, rows, query } = state;
    const row = rows && query !== null ? rows(query) : null;
    const top = row ? Math.max(64, ...row) : 255; // the strongest look has the deepest colour
    view.box.classList.toggle("looking", !!row);
    view.spans.forEach((span, i) => {
      const weight = row ? (i <= query ? row[i] / top : 0) : value.weights?.[i] || 0;
      const role = row ? roleFor(i, query, value.window) : value.roles?.[i] || "";
      const key = `${role}|${weight.toFixed(3)}`;
      if (span.dataset.key === key) return;
      span.dataset.key = key;
      span.dataset.role = role;
      span.style.setProperty("--w", weight.toFixed(3));
      span.classList.toggle("unseen-by-compressed", role === "far" && weight > 0.12);
    });
  }

  // The words of a token's tooltip: what it is, then what the server told about it.
  function words(state, i) {
    const { value, rows, query } = state, lines = [];
    if (rows && query !== null && i <= query) {
      const share = format(weightOf(rows(query)[i]), "%");
      lines.push(query === i ? `${share} of its attention stays on itself` : `${share} of the attention of “${shown(value.texts[query]).trim()}” (${query})`);
      if (query !== i) lines.push(ROLES[roleFor(i, query, value.window)]);
    } else if (value.roles?.[i]) lines.push(ROLES[value.roles[i]] || value.roles[i]);
    if (value.tips?.[i]) lines.push(...value.tips[i].split("\n"));
    return lines;
  }

  // How a query's look is split between what every head keeps and what is far.
  function split(state) {
    const { value, rows, query } = state, sums = { sink: 0, recent: 0, far: 0, query: 0 };
    rows(query).forEach((byte, j) => { sums[roleFor(j, query, value.window)] += weightOf(byte); });
    const all = sums.sink + sums.recent + sums.far + sums.query || 1;
    return `“${shown(value.texts[query]).trim()}” looks: sinks ${format(sums.sink / all, "%")} · recent ${format((sums.recent + sums.query) / all, "%")} · far ${format(sums.far / all, "%")}`;
  }

  // The same picture as SVG, for the export: one rectangle and one text a token. Each text has
  // its width written down, so that it fits where the font is not there.
  function drawing(view) {
    const { list } = view, base = list.getBoundingClientRect(), parts = [];
    const x = (r) => r.left - base.left, y = (r) => r.top - base.top + list.scrollTop;
    for (const span of view.spans) {
      const style = getComputedStyle(span), rects = [...span.getClientRects()], end = rects[rects.length - 1];
      if (!end) continue;
      for (const r of rects) {
        const rect = svg("rect", { x: x(r), y: y(r), width: r.width, height: r.height, rx: 3 });
        rect.style.fill = style.backgroundColor;
        if (span.classList.contains("unseen-by-compressed")) { rect.style.stroke = style.outlineColor; rect.style.strokeDasharray = "3 2"; }
        if (span.dataset.tip) rect.dataset.title = span.dataset.tip;
        parts.push(rect);
      }
      const pad = parseFloat(style.paddingLeft), words = span.textContent.replace(/[\r\n]/g, "");
      const text = svg("text", { x: x(end) + pad, y: y(end) + end.height * 0.72 }, words);
      if (rects.length === 1 && end.width > 2 * pad) text.setAttribute("textLength", end.width - 2 * pad);
      Object.assign(text.style, { fill: style.color, fontFamily: style.fontFamily, fontSize: style.fontSize, whiteSpace: "pre" });
      parts.push(text);
    }
    const picture = svg("svg", { viewBox: `0 0 ${base.width} ${list.scrollHeight}`, class: "off" });
    picture.append(...parts);
    view.box.append(picture);
    setTimeout(() => picture.remove(), 2000);
    return picture;
  }
  function tableOf({ value, rows, query }) {
    const head = ["token", "text", "role", rows && query !== null ? `weight from ${query}` : "weight", "more"];
    return [head, ...value.texts.map((text, i) => {
      const weight = rows && query !== null ? (i <= query ? weightOf(rows(query)[i]) : 0) : value.weights?.[i] ?? null;
      const role = rows && query !== null ? roleFor(i, query, value.window) : value.roles?.[i] || "";
      return [i, text, role, weight === null ? null : +weight.toFixed(5), (value.tips?.[i] || "").replace(/\n/g, "; ")];
    })];
  }

  let made = 0;

  // mount(root, pick) -> paint(value). pick(index) is called for a click or Enter on a token.
  function mount(root, pick = () => {}) {
    const view = build(root), id = `tok${++made}`;
    const state = { value: null, rows: null, query: null, pinned: null, at: null };
    const lookFrom = (i) => {
      state.query = i;
      paintTokens(view, state);
      view.say.textContent = state.rows && i !== null ? split(state) : state.value.note || "";
    };
    const hide = () => { view.card.hidden = true; };
    const tell = (i) => {
      const lines = words(state, i);
      view.card.replaceChildren(el("b", "", spoken(state.value.texts[i])), el("small", "", `token ${i}`), ...lines.map((line) => el("span", "", line)));
      view.card.hidden = false;
      place(view.card, view.spans[i].getClientRects()[0] || view.spans[i].getBoundingClientRect());
    };
    const visit = (i, speak) => {
      if (state.at !== null) view.spans[state.at]?.classList.remove("here");
      state.at = i;
      if (i === null) { view.list.removeAttribute("aria-activedescendant"); hide(); if (state.pinned === null) lookFrom(state.value?.query ?? null); return; }
      view.spans[i].classList.add("here");
      if (speak) { view.list.setAttribute("aria-activedescendant", view.spans[i].id); view.spans[i].scrollIntoView({ block: "nearest", inline: "nearest" }); }
      if (state.rows && state.pinned === null) lookFrom(i);
      tell(i);
    };
    const pin = (i) => {
      const same = state.pinned === i;
      if (state.pinned !== null) { view.spans[state.pinned]?.classList.remove("pinned"); view.spans[state.pinned]?.removeAttribute("aria-selected"); }
      state.pinned = same ? null : i;
      if (!same) { view.spans[i].classList.add("pinned"); view.spans[i].setAttribute("aria-selected", "true"); }
      lookFrom(i);
      tell(i);
      if (!same) pick(i);
    };
    const indexOf = (event) => { const span = event.target.closest(".tok"); return span ? +span.dataset.i : null; };
    // The token above or below: of the next line, the one nearest across.
    const across = (i, down) => {
      const from = view.spans[i].getBoundingClientRect();
      let best = i, cost = Infinity;
      view.spans.forEach((span, j) => {
        const r = span.getBoundingClientRect(), dy = down ? r.top - from.top : from.top - r.top;
        const c = dy > 4 ? dy * 1000 + Math.abs(r.left - from.left) : Infinity;
        if (c < cost) { cost = c; best = j; }
      });
      return best;
    };
    view.list.addEventListener("pointerover", (e) => { if (e.pointerType === "mouse") { const i = indexOf(e); if (i !== null) visit(i, false); } });
    view.list.addEventListener("pointerleave", () => visit(null));
    view.list.addEventListener("scroll", hide);
    view.list.addEventListener("click", (e) => { const i = indexOf(e); if (i !== null) { visit(i, false); pin(i); } });
    view.list.addEventListener("blur", () => visit(null));
    view.list.addEventListener("keydown", (e) => {
      const last = view.spans.length - 1, now = state.at ?? state.pinned ?? -1;
      if (last < 0) return;
      const to = {
        ArrowRight: () => now + 1, ArrowLeft: () => (now < 0 ? last : now - 1), Home: () => 0, End: () => last,
        ArrowDown: () => across(Math.max(now, 0), true), ArrowUp: () => across(Math.max(now, 0), false),
      }[e.key];
      if (to) visit(Math.max(0, Math.min(last, to())), true);
      else if ((e.key === "Enter" || e.key === " ") && now >= 0) pin(now);
      else if (e.key === "Escape") { if (state.pinned !== null) pin(state.pinned); visit(null); }
      else return;
      e.preventDefault();
    });
    return (value) => {
      if (!value) return;
      const same = state.value && state.value.texts.length === value.texts.length && state.value.texts.every((t, i) => t === value.texts[i]);
      Object.assign(state, { value, rows: value.matrix ? unpack(value.matrix) : null, at: null });
      if (!same) { state.pinned = null; buildTokens(view, value, id); view.list.scrollTop = 0; }
      view.box.dataset.tone = value.tone || "";
      view.list.style.maxHeight = value.height ? `${value.height}px` : "";
      view.title.textContent = value.title || "";
      view.list.setAttribute("aria-label", value.summary || value.title || "tokens");
      view.legend?.remove();
      view.legend = legendOf(value);
      view.list.after(view.legend);
      value.texts.forEach((_, i) => { if (value.tips?.[i]) view.spans[i].dataset.tip = value.tips[i]; else delete view.spans[i].dataset.tip; });
      lookFrom(state.pinned ?? value.query ?? null);
      const first = view.spans[value.query];
      if (!same && first && first.offsetTop > view.list.clientHeight) view.list.scrollTop = first.offsetTop - view.list.clientHeight * 0.7;
      if (!view.exported && value.export !== false && window.rlkvExport)
        view.exported = window.rlkvExport.attach(view.top, { name: () => state.value.name, title: () => state.value.title, svg: () => drawing(view), rows: () => tableOf(state) });
    };
  }

  window.rlkvTokens = { mount };
})();
