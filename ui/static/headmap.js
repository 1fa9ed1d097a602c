// The layer x KV head picture: draws what the server sends, as SVG that follows the theme.
// It knows numbers and words, nothing of masks or models; `headmap_input.js` adds pointer and
// keys, `headmap_time.js` the slider that plays a training. All words go in as text.
(() => {
  const { el, svg } = window.rlkvDom;
  const clamp = (x, low, high) => Math.min(high, Math.max(low, x));
  // Sets an attribute only if it changes: most cells stay as they are between two pictures.
  const put = (node, name, value) => {
    const old = (node.rlkv ||= {});
    if (old[name] === value) return;
    old[name] = value;
    node.setAttribute(name, value);
  };

  // --- colours: value -> [role, strength]; roles are "full", "comp" and "ink" ----------------
  const SIGNED = (x) => [x >= 0 ? "full" : "comp", Math.abs(x)];
  const SCALES = {
    gate: (v) => SIGNED(2 * clamp(v, 0, 1) - 1),
    share: (v) => SIGNED(2 * clamp(v, 0, 1) - 1),
    kept: (v) => [v >= 0.5 ? "full" : "comp", 1],
    diverging: (v) => SIGNED(clamp(v, -1, 1)),
    rank: (v) => ["ink", clamp(v, 0, 1)],
  };
  const DIMMED = { gate: 0.4, kept: 0.4, rank: 0.4 }; // compressed heads, by scale; else undimmed

  const HINT = "Drag to paint: the first cell decides. Space switches the marked head; K keeps, C compresses its layer; Ctrl+Z undoes.";

  const look = (scale, value, kept) => {
    const [role, strength] = (SCALES[scale] || SCALES.gate)(value);
    const fade = kept === 0 ? DIMMED[scale] ?? 1 : 1;
    return { role, opacity: Math.round((0.04 + 0.96 * strength) * fade * 1000) / 1000 };
  };

  // --- where things are ----------------------------------------------------------------------
  function geometry(layers, heads, width) {
    const left = 34, top = 24;
    const row = clamp(440 / layers, 11, 56);
    const column = Math.min(190, (width - left - 3) / heads);
    const small = Math.min(row, column);
    const gap = small > 30 ? 5 : small > 16 ? 3 : small > 8 ? 2 : 1;
    return {
      left, top, row, column, gap, layers, heads,
      radius: Math.min(7, (small - gap) * 0.24),
      stroke: small > 30 ? 2 : small > 12 ? 1.5 : 1.2,
      words: row >= 20 && column >= 30,
      everyRow: row >= 16 ? 1 : row >= 13 ? 2 : row >= 12 ? 4 : 8,
      everyHead: column >= 23 ? 1 : column >= 12 ? 2 : 4,
      longHead: column >= 52,
      width: left + column * heads + 3, height: top + row * layers + 3,
    };
  }

  const table = (values, layers, heads) => {
    const flat = new Float64Array(layers * heads);
    if (values) values.forEach((row, l) => row.forEach((v, h) => (flat[l * heads + h] = v)));
    return flat;
  };

  // --- nodes, made once per shape ------------------------------------------------------------
  function build(map) {
    const { layers, heads, name } = map.value;
    map.shape = `${layers}x${heads}`;
    map.cells = [];
    const root = map.svg;
    root.replaceChildren();
    const top = root.appendChild(svg("g", { role: "row", class: "hm-top" }));
    map.columns = Array.from({ length: heads }, (_, h) =>
      top.appendChild(svg("text", { role: "columnheader", "text-anchor": "middle", "aria-label": `KV head ${h}` })));
    map.rows = [];
    for (let l = 0; l < layers; l++) {
      const line = root.appendChild(svg("g", { role: "row" }));
      const label = svg("text", { role: "rowheader", "text-anchor": "end", "aria-label": `Layer ${l}`, class: "hm-layer" });
      map.rows.push(line.appendChild(label));
      for (let h = 0; h < heads; h++) {
        const cell = line.appendChild(svg("g", { role: "gridcell", id: `${map.id}-${l}-${h}`, "data-head": `${l}.${h}` }));
        const well = cell.appendChild(svg("rect", { class: "hm-well" }));
        const fill = cell.appendChild(svg("rect", { class: "hm-fill" }));
        map.cells.push({ cell, well, fill, text: cell.appendChild(svg("text", { "text-anchor": "middle" })) });
      }
    }
    map.ring = root.appendChild(svg("rect", { class: "hm-ring", "aria-hidden": "true" }));
    map.shade = root.appendChild(svg("rect", { class: "hm-hover", "aria-hidden": "true" }));
    root.setAttribute("aria-label", `${name}, ${layers} layers by ${heads} KV heads`);
    root.setAttribute("aria-rowcount", layers);
    root.setAttribute("aria-colcount", heads);
  }

  const box = (g, l, h, grow = 0) => ({
    x: g.left + h * g.column + g.gap / 2 - grow, y: g.top + l * g.row + g.gap / 2 - grow,
    width: g.column - g.gap + 2 * grow, height: g.row - g.gap + 2 * grow, rx: g.radius + grow / 2,
  });
  const place = (node, rect) => { for (const key in rect) put(node, key, Math.round(rect[key] * 100) / 100); };

  function layOut(map) {
    const { layers, heads } = map.value;
    const g = (map.g = geometry(layers, heads, Math.max(map.root.clientWidth || 600, 160)));
    map.svg.setAttribute("viewBox", `0 0 ${g.width} ${g.height}`);
    map.svg.setAttribute("width", g.width);
    map.svg.setAttribute("height", g.height);
    map.svg.style.setProperty("--hm-stroke", g.stroke);
    map.columns.forEach((node, h) => {
      put(node, "x", g.left + (h + 0.5) * g.column);
      put(node, "y", g.top - 9);
      node.textContent = h % g.everyHead ? "" : g.longHead ? `head ${h}` : column(g, h);
    });
    map.rows.forEach((node, l) => {
      put(node, "x", g.left - 8);
      put(node, "y", g.top + (l + 0.5) * g.row + 4);
      node.textContent = l % g.everyRow ? "" : `L${l}`;
    });
    map.cells.forEach(({ well, fill, text }, i) => {
      const l = Math.floor(i / heads), h = i % heads, rect = box(g, l, h);
      place(well, rect);
      place(fill, rect);
      put(text, "x", rect.x + rect.width / 2);
      put(text, "y", rect.y + rect.height / 2 + 4.5);
    });
  }
  const column = (g, h) => (g.column >= 23 ? `H${h}` : `${h}`);

  // --- what changes --------------------------------------------------------------------------
  const words = (map, i) => {
    const { heads, hover } = map.value;
    const l = Math.floor(i / heads), h = i % heads;
    return map.frame ? map.frame.hover(i) : hover?.[l]?.[h] ?? "";
  };
  const state = (map, i) => (map.kept ? (map.kept[i] ? "kept" : "compressed") : "");

  function paint(map) {
    const { scale, texts, heads, view } = map.value;
    map.cells.forEach(({ cell, well, fill, text }, i) => {
      const kept = map.kept ? map.kept[i] : null;
      const value = view === "kept" && kept !== null ? kept : map.shown[i];
      const { role, opacity } = look(scale, value, kept);
      put(fill, "class", `hm-fill ${role}`);
      put(fill, "fill-opacity", opacity);
      put(well, "class", kept ? "hm-well kept" : "hm-well");
      put(cell, "data-value", Math.round(value * 1e4) / 1e4);
      put(cell, "data-kept", kept === null ? "" : String(Boolean(kept)));
      const l = Math.floor(i / heads), h = i % heads;
      const short = !map.g.words ? "" : map.frame ? map.frame.text(i) : view === "kept" ? "" : texts?.[l]?.[h] ?? "";
      if (text.textContent !== short) text.textContent = short;
      put(text, "class", opacity > (role === "comp" ? 0.55 : 0.72) ? `on ${role}` : "");
      put(cell, "aria-label", [`Layer ${l}, KV head ${h}`, words(map, i), state(map, i)].filter(Boolean).join(", "));
      put(cell, "aria-selected", String(i === map.selected));
    });
    mark(map);
  }

  // The ring round the pinned head, and what a screen reader is on.
  function mark(map) {
    const { heads } = map.value, i = map.selected;
    map.ring.style.display = i === null ? "none" : "";
    if (i === null) return map.svg.removeAttribute("aria-activedescendant");
    place(map.ring, box(map.g, Math.floor(i / heads), i % heads, map.g.gap / 2 + 0.5));
    map.svg.setAttribute("aria-activedescendant", map.cells[i].cell.id);
  }

  // The small window at a cell; `i` null hides it.
  function tip(map, i) {
    const { heads } = map.value, node = map.tip, g = map.g;
    node.hidden = i === null;
    map.shade.style.display = i === null ? "none" : "";
    if (i === null) return;
    const l = Math.floor(i / heads), h = i % heads, rect = box(g, l, h);
    place(map.shade, rect);
    const where = el("b", "", `Head ${l}.${h}`);
    where.append(el("small", "", `layer ${l}, KV head ${h}`));
    node.replaceChildren(where, ...words(map, i).split(" · ").map((line) => el("span", "", line)));
    if (map.kept) node.append(el("span", map.kept[i] ? "c-full" : "c-comp", state(map, i)));
    const area = map.svg.getBoundingClientRect(), scaleX = area.width / g.width || 1;
    const middle = area.left - map.root.getBoundingClientRect().left + (rect.x + rect.width / 2) * scaleX;
    const half = node.offsetWidth / 2;
    node.style.left = `${clamp(middle, half, Math.max(half, map.root.clientWidth - half))}px`;
    const above = rect.y * scaleX - node.offsetHeight - 8;
    const below = (rect.y + rect.height) * scaleX + 8;
    node.style.top = `${above > -44 ? above : below}px`;
  }

  function legend(map) {
    const { legend: about, scale } = map.value;
    map.legend.replaceChildren();
    if (!about) return;
    if (about.low !== undefined) {
      const bar = el("span", `bar ${scale}`);
      bar.setAttribute("role", "img");
      bar.setAttribute("aria-label", `colour scale from ${about.low} to ${about.high}`);
      map.legend.append(el("span", "", about.low), bar, el("span", "", about.high));
    }
    if (map.kept) {
      for (const [cls, word] of [["kept", "kept"], ["cut", "compressed"]]) {
        const key = el("span", "hm-key");
        key.append(el("i", `key ${cls} s-${scale}`), word);
        map.legend.append(key);
      }
    }
    if (map.value.editable) map.legend.append(el("p", "hm-hint", HINT));
    if (about.note) map.legend.append(el("p", "hm-note", about.note));
  }

  // The same legend for an exported picture, its marks drawn where the page's colours reach them.
  function keys(map) {
    const { legend: about, scale } = map.value, found = [];
    const square = (width, x, attributes) => svg("rect", { x, y: -width / 2, width, height: width, ...attributes });
    const add = (mark, size, shown, text = shown.textContent) =>
      found.push({ mark: mark && map.marks.appendChild(mark), size, text, width: shown.offsetWidth + (mark ? size + 5 : 0) });
    const [low, bar, high] = map.legend.children, named = map.legend.querySelectorAll(".hm-key");
    map.marks.replaceChildren();
    if (about?.low !== undefined && scale !== "kept") {
      const steps = Array.from({ length: 12 }, (_, i) => look(scale, scale === "diverging" ? i / 5.5 - 1 : i / 11, null));
      const strip = svg("g");
      strip.append(...steps.map(({ role, opacity }, i) => square(7, 7 * i - 42, { class: `hm-fill ${role}`, "fill-opacity": opacity })));
      add(null, 0, low);
      add(strip, bar.offsetWidth, high);
    }
    named.forEach((shown, i) => {
      const { role, opacity } = scale === "kept" ? look(scale, 1 - i, 1 - i) : { role: "ink", opacity: i ? 0.28 : 0 };
      const mark = svg("g");
      mark.append(square(12, -6, { class: i ? "hm-well" : "hm-well kept", rx: 3 }), square(12, -6, { class: `hm-fill ${role}`, "fill-opacity": opacity, rx: 3 }));
      add(mark, 18, shown);
    });
    return found;
  }

  // --- one map -------------------------------------------------------------------------------
  let count = 0;

  // mount(root, emit) -> show(value). `emit(name, data)` tells the server: pick, paint, base,
  // undo, redo. `value` is what `ui/components/headmap.py` makes, or null for an empty map.
  function mount(root, emit = () => {}) {
    const map = { root, emit, id: `hm${++count}`, value: null, shape: "", selected: null, kept: null, frame: null, frames: null };
    map.svg = svg("svg", { class: "hm-svg", role: "grid", tabindex: "0" });
    map.tip = el("div", "hm-tip");
    map.tip.hidden = true;
    map.time = el("div", "hm-time");
    map.time.hidden = true;
    map.legend = el("div", "legend");
    const foot = el("div", "hm-foot");
    map.marks = svg("svg", { class: "hm-marks", "aria-hidden": "true" });
    foot.append(map.legend, map.marks);
    root.replaceChildren(map.svg, map.tip, map.time, foot);
    root.rlkvEmit = emit; // for scripts and tests
    map.paint = () => paint(map);
    map.mark = () => mark(map);
    map.showTip = (i) => tip(map, i);
    window.rlkvHeadMapTime(map);
    window.rlkvHeadMapInput(map);
    new ResizeObserver(() => { if (map.value) { layOut(map); paint(map); } }).observe(root);
    window.rlkvExport?.attach(foot, { get name() { return map.value?.file || "heads"; }, title: () => map.value?.name, svg: () => map.svg, rows: () => rows(map), keys: () => keys(map) });
    return (value) => show(map, value);
  }

  function show(map, value) {
    map.root.hidden = !value;
    if (!value) return;
    const before = map.value;
    map.value = value;
    if (before && before.key !== value.key) map.forget();
    const { layers, heads } = value;
    if (map.shape !== `${layers}x${heads}`) build(map);
    map.shown = table(value.values, layers, heads);
    map.kept = value.kept ? table(value.kept, layers, heads) : null;
    // A map with a key (a mask to work on) is told once which head is open, then knows better.
    const told = value.selected ? value.selected[0] * heads + value.selected[1] : null;
    if (!before || (value.key !== undefined ? before.key !== value.key : told !== null || before.selected)) map.selected = told;
    if (map.selected >= layers * heads) map.selected = null;
    map.svg.classList.toggle("editable", Boolean(value.editable));
    map.svg.setAttribute("aria-readonly", String(!value.editable));
    map.svg.dataset.view = value.view;
    map.setTime();
    map.received();
    layOut(map);
    legend(map);
    paint(map);
    if (map.at !== null) tip(map, map.at);
  }

  const rows = (map) => {
    const { heads, layers, column: name } = map.value;
    const out = [["layer", "head", name || "value", ...(map.kept ? ["kept"] : [])]];
    const last = layers * heads - 1;
    for (let i = 0; i <= last; i++) {
      const shown = map.value.view === "kept" && map.kept ? map.kept[i] : map.shown[i];
      const value = map.value.scale === "rank" ? Math.round((1 - shown) * last) + 1 : shown;
      out.push([Math.floor(i / heads), i % heads, value, ...(map.kept ? [map.kept[i]] : [])]);
    }
    return out;
  };

  window.rlkvHeadMap = { mount, clamp };
})();
