// Pointer and keys on the head map: preview, pin, move, paint. Events leave one at a time, in
// order: a paint waits until the server has answered the one before it.
(() => {
  const SETTLE = 90; // ms between moving with the keys and telling the server
  const PATIENCE = 4000; // ms to wait for an answer before the next paint is sent anyway

  window.rlkvHeadMapInput = (map) => {
    map.at = null;
    const mail = outbox(map);
    const cellAt = finder(map);
    const pin = (i, wait = 0) => {
      map.selected = i;
      map.paint();
      mail.pick(i, wait);
    };
    pointer(map, mail, cellAt, pin);
    keys(map, mail, pin);
    map.received = mail.received;
    map.forget = mail.forget;
  };

  const split = (map, i) => [Math.floor(i / map.value.heads), i % map.value.heads];

  // --- to the server -------------------------------------------------------------------------
  function outbox(map) {
    const waiting = [];
    let busy = 0, number = 0, timer = null, picking = null, last = null;
    const next = () => {
      clearTimeout(timer);
      busy = 0;
      const paint = waiting[0];
      if (!paint) return picking !== null && pick(picking, 0);
      if (paint.event) { map.emit(waiting.shift().event, {}); return next(); }
      busy = ++number;
      paint.n = busy;
      map.emit("paint", { cells: paint.cells.map((i) => split(map, i)), keep: paint.keep, n: busy });
      timer = setTimeout(() => { waiting.shift(); next(); }, PATIENCE);
    };
    const pick = (i, wait) => {
      clearTimeout(last);
      picking = i;
      last = setTimeout(() => {
        if (busy) return; // sent once the paint is answered
        picking = null;
        const [layer, head] = split(map, i);
        map.emit("pick", { layer, head });
      }, wait);
    };
    return {
      pick,
      paint(cells, keep) {
        if (!cells.length) return;
        waiting.push({ cells, keep });
        if (!busy) next();
      },
      // Undo and redo wait for strokes that are on their way.
      step(event) {
        if (busy) waiting.push({ event, cells: [] });
        else map.emit(event, {});
      },
      // Another mask is on screen: what was on its way was meant for the one before.
      forget() {
        clearTimeout(timer);
        clearTimeout(last);
        waiting.length = busy = 0;
        picking = null;
      },
      // A value has come: strokes that the server has not answered yet are drawn over it.
      received() {
        if (busy && map.value.ack === busy) { waiting.shift(); next(); }
        for (const { cells, keep } of waiting) for (const i of cells) map.kept[i] = keep ? 1 : 0;
      },
    };
  }

  // --- where the pointer is ------------------------------------------------------------------
  function finder(map) {
    // -> {cell} of a cell, {layer} on a layer's label, or {} elsewhere.
    return (event) => {
      const g = map.g, area = map.svg.getBoundingClientRect(), scale = g.width / area.width;
      const x = (event.clientX - area.left) * scale - g.left;
      const y = (event.clientY - area.top) * scale - g.top;
      const layer = Math.floor(y / g.row), head = Math.floor(x / g.column);
      if (layer < 0 || layer >= g.layers || head >= g.heads) return {};
      return x < 0 ? { layer } : { cell: layer * g.heads + head };
    };
  }

  function pointer(map, mail, cellAt, pin) {
    let stroke = null; // {keep, cells: Set, from}
    const preview = (i) => { map.at = i; map.showTip(i); };
    const touch = (i) => {
      const heads = map.value.heads;
      const [l0, h0] = [Math.floor(stroke.from / heads), stroke.from % heads];
      const [l1, h1] = [Math.floor(i / heads), i % heads];
      const steps = Math.max(Math.abs(l1 - l0), Math.abs(h1 - h0), 1);
      for (let s = 0; s <= steps; s++) { // a fast pointer leaves no holes
        const cell = Math.round(l0 + ((l1 - l0) * s) / steps) * heads + Math.round(h0 + ((h1 - h0) * s) / steps);
        if (Boolean(map.kept[cell]) !== stroke.keep) { stroke.cells.add(cell); map.kept[cell] = stroke.keep ? 1 : 0; }
      }
      stroke.from = i;
      map.paint();
    };
    map.svg.addEventListener("pointerdown", (event) => {
      const { cell } = cellAt(event);
      if (event.button || cell === undefined || !map.value.editable || !map.kept) return;
      map.svg.setPointerCapture(event.pointerId);
      stroke = { keep: !map.kept[cell], cells: new Set(), from: cell };
      touch(cell);
    });
    map.svg.addEventListener("pointermove", (event) => {
      const { cell } = cellAt(event);
      if (cell !== undefined && stroke) touch(cell);
      if (event.pointerType !== "touch") preview(cell ?? null);
    });
    const finish = (cancelled) => {
      if (!stroke) return;
      const { cells, keep } = stroke;
      stroke = null;
      if (cancelled) { for (const i of cells) map.kept[i] = keep ? 0 : 1; map.paint(); return; }
      map.selected = [...cells].pop() ?? map.selected;
      mail.paint([...cells], keep);
      mail.pick(map.selected, SETTLE);
      map.paint();
    };
    map.svg.addEventListener("pointerup", () => finish(false));
    map.svg.addEventListener("pointercancel", () => finish(true));
    map.svg.addEventListener("pointerleave", () => preview(null));
    map.svg.addEventListener("click", (event) => {
      const { cell } = cellAt(event);
      if (cell === undefined || map.value.editable) return;
      pin(cell);
      if (event.pointerType === "touch") preview(cell);
    });
    map.svg.addEventListener("dblclick", (event) => {
      const { layer } = cellAt(event);
      if (layer !== undefined && map.value.editable) wholeLayer(map, mail, layer);
    });
  }

  // Keeps a whole layer, or compresses it if all of it is kept already.
  function wholeLayer(map, mail, layer, wanted) {
    const { heads } = map.value;
    const all = Array.from({ length: heads }, (_, h) => layer * heads + h);
    const keep = wanted ?? !all.every((i) => map.kept[i]);
    const cells = all.filter((i) => Boolean(map.kept[i]) !== keep);
    for (const i of cells) map.kept[i] = keep ? 1 : 0;
    map.paint();
    mail.paint(cells, keep);
  }

  // --- keys ----------------------------------------------------------------------------------
  const target = (key, ctrl, l, h, layers, heads) => {
    const page = Math.max(1, Math.round(layers / 8)), clamp = window.rlkvHeadMap.clamp;
    const moves = {
      ArrowUp: [l - 1, h], ArrowDown: [l + 1, h], ArrowLeft: [l, h - 1], ArrowRight: [l, h + 1],
      PageUp: [l - page, h], PageDown: [l + page, h],
      Home: [ctrl ? 0 : l, 0], End: [ctrl ? layers - 1 : l, heads - 1],
    };
    const to = moves[key];
    return to && clamp(to[0], 0, layers - 1) * heads + clamp(to[1], 0, heads - 1);
  };

  function keys(map, mail, pin) {
    map.svg.addEventListener("keydown", (event) => {
      const { layers, heads, editable } = map.value;
      const at = map.selected ?? 0, l = Math.floor(at / heads), h = at % heads;
      const to = target(event.key, event.ctrlKey || event.metaKey, l, h, layers, heads);
      if (event.altKey || (to === undefined && (event.ctrlKey || event.metaKey))) return;
      map.svg.classList.add("keys");
      if (to !== undefined) { pin(map.selected === null ? 0 : to, SETTLE); map.showTip(map.selected); }
      else if (event.key === " " && editable) {
        map.kept[at] = map.kept[at] ? 0 : 1;
        map.paint();
        mail.paint([at], Boolean(map.kept[at]));
      } else if (event.key === " " || event.key === "Enter") pin(at);
      else if (event.key === "k" && editable) wholeLayer(map, mail, l, true);
      else if (event.key === "c" && editable) wholeLayer(map, mail, l, false);
      else if (event.key === "Escape") return map.showTip(null);
      else return;
      event.preventDefault();
    });
    // The frame round the whole map is for those who come by the keys.
    let pressed = false;
    map.svg.addEventListener("pointerdown", () => { pressed = true; map.svg.classList.remove("keys"); });
    addEventListener("pointerup", () => (pressed = false));
    map.svg.addEventListener("focus", () => {
      if (pressed) return;
      map.svg.classList.add("keys");
      if (map.selected !== null) map.showTip(map.selected);
    });
    map.svg.addEventListener("blur", () => map.showTip(null));
    const undoing = (event) => {
      if (!map.root.isConnected) return document.removeEventListener("keydown", undoing);
      const typing = event.target.closest?.("input:not([type=range]):not([type=checkbox]), textarea");
      if (!map.value?.undoable || typing || !(event.ctrlKey || event.metaKey)) return;
      const key = event.key.toLowerCase();
      if (key !== "z" && key !== "y") return;
      event.preventDefault();
      mail.step(key === "y" || event.shiftKey ? "redo" : "undo");
    };
    document.addEventListener("keydown", undoing);
  }
})();
