// What each side's KV cache held, token by token, over a conversation: the curves, what is saved,
// and how many such chats fit into a memory. It knows numbers and names, nothing of texts or runs.
(() => {
  const { el, svg, format, niceStep, niceTop } = window.rlkvDom;
  const MOST_POINTS = 400; // of one curve on screen
  const highIn = () => (matchMedia("(max-width: 760px)").matches ? 104 : 158); // of the picture

  const short = (n) => (n >= 10000 ? `${format(n / 1000)}k` : n.toLocaleString("en"));

  const peak = (ys, n) => { let top = 0; for (let i = 0; i < n; i++) if (ys[i] > top) top = ys[i]; return top; };

  // Bytes held at a length, read off a measured curve; null before its begin.
  const at = (side, length, upto) => {
    let value = null;
    for (let i = 0; i < upto && side.cols.l[i] <= length; i++) value = side.cols.b[i];
    return value;
  };
  // Where sides can be compared: at the shortest one's length. -> {length, held: [bytes a side]}
  function compared(turn) {
    const upto = turn.sides.map((s) => s.upto);
    if (!turn.sides.length || upto.some((n) => !n)) return null;
    const length = Math.min(...turn.sides.map((s, i) => s.cols.l[upto[i] - 1]));
    const held = turn.sides.map((s, i) => at(s, length, upto[i]) ?? s.cols.b[0]);
    return { length, held };
  }

  function drawChart(picture, turns) {
    const width = Math.max(picture.parentElement.clientWidth || 300, 220), height = highIn();
    const shown = turns.flatMap((turn) => turn.sides.map((side) => ({ side, turn, n: side.upto })));
    const lines = shown.filter(({ side, n }) => n > 0 || side.read?.length);
    const last = ({ side, n }) => (n ? [side.cols.l[n - 1], side.cols.b[n - 1]] : side.read[side.read.length - 1]);
    const box = { left: 56, right: width - 10, top: 8, bottom: height - 24 };
    const longest = Math.max(0, ...lines.map((one) => last(one)[0]));
    const highest = Math.max(0, ...lines.map((one) => Math.max(peak(one.side.cols.b, one.n), one.side.cols.f?.[one.n - 1] || 0, last(one)[1])));
    const xMax = niceTop(Math.max(longest, 40)), yTop = (highest || 512 * 1024) * 1.08;
    const X = (x) => box.left + (x / xMax) * (box.right - box.left), Y = (y) => box.bottom - (y / yTop) * (box.bottom - box.top);
    const parts = [];
    for (let y = 0, step = niceStep(yTop); y <= yTop; y += step) {
      parts.push(svg("line", { class: y ? "grid" : "base", x1: box.left, x2: box.right, y1: Y(y), y2: Y(y) }));
      parts.push(svg("text", { x: box.left - 7, y: Y(y) + 4, "text-anchor": "end" }, y ? format(y, "B") : "0"));
    }
    parts.push(svg("text", { x: box.left, y: height - 6 }, "0"));
    parts.push(svg("text", { x: box.right, y: height - 6, "text-anchor": "end" }, `${short(xMax)} tokens`));
    for (const { side, turn, n } of lines) {
      const { l, b, f } = side.cols, stride = Math.max(1, Math.ceil(n / MOST_POINTS));
      const path = (ys) => {
        // While the prompt was read, one point a chunk; then one a token.
        let d = ys === b ? (side.read || []).map(([x, y], i) => `${i ? "L" : "M"}${X(x).toFixed(1)} ${Y(y).toFixed(1)}`).join("") : "";
        for (let i = 0; i < n; i += stride) d += `${d ? "L" : "M"}${X(l[i]).toFixed(1)} ${Y(ys[i]).toFixed(1)}`;
        return n && (n - 1) % stride ? `${d}L${X(l[n - 1]).toFixed(1)} ${Y(ys[n - 1]).toFixed(1)}` : d;
      };
      const old = turn === turns[turns.length - 1] ? "" : " past";
      if (f) parts.push(svg("path", { class: `formula s-${side.role}${old}`, d: path(f) }));
      parts.push(svg("path", { class: `held s-${side.role}${old}`, d: path(b), "data-points": n, "data-slot": side.slot, "data-title": `${side.name}, measured` }));
      for (const cut of side.breaks || []) {
        if (cut.at > n) continue;
        const x = X(l[Math.max(0, Math.min(cut.at, n) - 1)]);
        const line = svg("line", { class: "cut", x1: x, x2: x, y1: box.top - 4, y2: box.bottom });
        line.append(svg("title", {}, cut.words));
        parts.push(line, svg("text", { class: "cut-word", x: x + 3, y: box.top + 4, "text-anchor": x > box.right - 60 ? "end" : "start" }, "changed"));
      }
      if (!old) parts.push(svg("circle", { class: `dot s-${side.role}`, cx: X(last({ side, n })[0]), cy: Y(last({ side, n })[1]), r: 3.6 }));
    }
    picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    picture.replaceChildren(...parts);
  }

  function rowsOf(turns) {
    const rows = [["turn", "side", "tokens in cache", "KV bytes measured", "KV bytes by formula"]];
    turns.forEach((turn, k) => turn.sides.forEach((side) => {
      for (let i = 0; i < side.upto; i++) rows.push([k + 1, side.name, side.cols.l[i], side.cols.b[i], side.cols.f?.[i] ?? null]);
    }));
    return rows;
  }

  // mount(root) -> {paint(turns, model)}; a turn is {sides: [{slot, role, name, cols: {l, b, f}, upto,
  // breaks}], secret}, a model {name, weights: bytes or null}.
  function mount(root) {
    const top = el("div", "mem-top"), big = el("b", "mem-big"), words = el("span", "mem-words"), keys = el("div", "mem-keys");
    const picture = svg("svg", { role: "img", "aria-label": "KV memory of each side against tokens" });
    const stage = el("div", "mem-stage"), fit = el("div", "fit");
    big.dataset.figure = "saved";
    top.append(el("h2", "sect", "KV memory"), big, words);
    stage.append(picture);
    root.replaceChildren(top, stage, keys, fit);
    const name = el("label", "fit-name", "How many of these chats fit into "), field = el("input"), unit = el("span", "", " GB");
    field.type = "number"; field.min = "0.1"; field.step = "any"; field.value = "24"; field.setAttribute("aria-label", "Memory in GB");
    field.id = "fit-memory";
    name.append(field, unit);
    const list = el("ul", "fit-list"), note = el("p", "note");
    fit.append(name, list, note);
    let turns = [], model = {}, scheduled = false;
    const visible = () => turns.filter((t) => !t.secret);

    const paintKeys = (turn) => {
      keys.replaceChildren(...turn.sides.map((side) => {
        const key = el("span", `mem-key s-${side.role}`), n = side.upto;
        key.append(el("i"), el("span", "", side.name), el("b", "", n ? format(side.cols.b[n - 1], "B") : "–"));
        return key;
      }), el("span", "mem-key thin", turn.sides.some((s) => s.cols.f) ? "thin: by the formula" : ""));
    };
    const paintFit = (turn) => {
      const memory = Number(field.value) * 1e9, spare = memory - (model.weights || 0);
      const now = turn && compared(turn);
      list.replaceChildren();
      if (!now || !(memory > 0)) { note.textContent = now ? "Give a memory in GB (1 GB is 1,000,000,000 bytes)." : "Known once a side has written."; return; }
      const counts = now.held.map((bytes) => Math.max(0, Math.floor(spare / bytes)));
      turn.sides.forEach((side, i) => {
        const item = el("li", `s-${side.role}`), count = el("b", "", counts[i].toLocaleString("en"));
        item.dataset.fits = counts[i]; item.dataset.slot = side.slot;
        item.append(el("i"), count, el("span", "", ` ${side.name.toLowerCase()}`));
        if (i && counts[0] && now.held[0] > 1.005 * now.held[i]) item.append(el("small", "", ` x ${format(now.held[0] / now.held[i])}`));
        list.append(item);
      });
      const beside = model.weights ? `beside ${format(model.weights, "B")} of weights` : "weights not counted";
      note.textContent = spare <= 0 ? `The weights alone take ${format(model.weights, "B")}.`
        : `of ${now.length.toLocaleString("en")} tokens each, ${beside}`;
      note.title = "Measured bytes of one such cache; what a server needs besides is not counted.";
    };
    const paint = () => {
      scheduled = false;
      const open = visible(), turn = open[open.length - 1], hidden = turns.some((t) => t.secret);
      const now = turn && compared(turn), least = now && turn.sides.length > 1 ? 1 - Math.min(...now.held.slice(1)) / now.held[0] : null;
      big.textContent = least === null || turns[turns.length - 1].secret ? "" : `${(100 * least).toFixed(0)} % KV saved`;
      big.dataset.saved = least ?? "";
      words.textContent = hidden && turns[turns.length - 1].secret ? "Hidden until the vote: bytes would give the sides away."
        : now ? `at ${now.length.toLocaleString("en")} tokens` : "Measured after every token, drawn here.";
      drawChart(picture, open);
      if (turn) paintKeys(turn); else keys.replaceChildren();
      paintFit(turn);
    };
    const soon = () => { if (!scheduled) { scheduled = true; (document.hidden ? setTimeout : requestAnimationFrame)(paint); } };
    field.addEventListener("input", soon);
    new ResizeObserver(soon).observe(stage);
    const keysOf = (turn) => turn.sides.filter((side) => side.upto).map((side) => ({
      mark: picture.querySelector(`.dot.s-${side.role}`), text: `${side.name}, ${format(side.cols.b[side.upto - 1], "B")}`, width: picture.clientWidth,
    })).filter((key) => key.mark);
    window.rlkvExport?.attach(top, {
      name: "kv-memory", title: "KV memory against tokens", svg: () => picture, rows: () => rowsOf(visible()),
      keys: () => visible().slice(-1).flatMap(keysOf),
    });
    return { paint(next, about) { turns = next; if (about) model = about; soon(); } };
  }

  window.rlkvChatMemory = { mount };
})();
