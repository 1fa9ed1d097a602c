// Accuracy of many methods over sparsity or bytes, with intervals. It knows the plain values that
// components/eval_curves.py makes, and nothing of Gradio or of models.
(() => {
  const { el, svg, format } = window.rlkvDom;
  const HEIGHT = 340;
  const CHARACTER = 6.7; // mean width of its words, to make room before they are drawn
  const SHAPES = {
    circle: (r) => `M${-r} 0A${r} ${r} 0 1 0 ${r} 0A${r} ${r} 0 1 0 ${-r} 0Z`,
    square: (r) => `M${-r} ${-r}H${r}V${r}H${-r}Z`,
    diamond: (r) => `M0 ${-r * 1.3}L${r * 1.3} 0L0 ${r * 1.3}L${-r * 1.3} 0Z`,
    up: (r) => `M0 ${-r * 1.2}L${r * 1.15} ${r}H${-r * 1.15}Z`,
    down: (r) => `M0 ${r * 1.2}L${r * 1.15} ${-r}H${-r * 1.15}Z`,
    cross: (r) => `M${-r} ${-r}L${r} ${r}M${-r} ${r}L${r} ${-r}`,
    plus: (r) => `M${-r * 1.2} 0H${r * 1.2}M0 ${-r * 1.2}V${r * 1.2}`,
  };
  const ORDER = Object.keys(SHAPES);
  const rounded = (top, unit) => {
    const scale = unit === "B" ? 1024 ** Math.floor(Math.log(Math.max(top, 1)) / Math.log(1024)) : 1;
    const raw = top / scale / 4 || 1, p = 10 ** Math.floor(Math.log10(raw));
    return [1, 2, 2.5, 5, 10].find((m) => m * p >= raw * 0.999) * p * scale;
  };

  function build(root) {
    const figure = el("figure", "fig curves"), top = el("figcaption"), note = el("small", "note-line");
    const axes = el("div", "axes"), legend = el("div", "curve-keys"), stage = el("div", "stage");
    const picture = svg("svg", { role: "img", tabindex: "0" }), card = el("div", "curve-card"), table = el("table", "unseen");
    const title = el("b");
    card.hidden = true;
    axes.setAttribute("role", "group"); axes.setAttribute("aria-label", "What the curves are drawn against");
    legend.setAttribute("role", "group"); legend.setAttribute("aria-label", "Curves shown");
    top.append(title, note);
    stage.append(picture, card);
    figure.append(top, axes, legend, stage, table);
    root.replaceChildren(figure);
    return { figure, top, title, note, axes, legend, picture, card, table };
  }

  function mount(root) {
    const view = build(root), hidden = new Set();
    let value = null, axis = 0, points = [], at = null, width = 0;

    const shown = () => value.series.filter((s) => !hidden.has(s.key) && s.points.length);
    const xOf = (p) => p.x[axis];

    function keys() {
      view.axes.replaceChildren(...value.axes.map((a, i) => {
        const button = el("button", "", a.short); button.type = "button";
        button.setAttribute("aria-pressed", String(i === axis));
        button.addEventListener("click", () => { axis = i; at = null; draw(); keys(); });
        return button;
      }));
      view.axes.hidden = value.axes.length < 2;
      view.legend.replaceChildren(...value.series.filter((s) => s.points.length).map((s) => {
        const button = el("button", "", ""), sign = svg("svg", { viewBox: "-8 -8 16 16", class: `m-${s.colour}` });
        button.type = "button"; button.dataset.series = s.key;
        sign.append(svg("path", { class: "shape", d: SHAPES[ORDER[s.shape % ORDER.length]](5) }));
        button.append(sign, el("span", "", s.title));
        button.setAttribute("aria-pressed", String(!hidden.has(s.key)));
        button.addEventListener("click", (event) => {
          if (event.altKey || event.detail === 2) { value.series.forEach((o) => hidden[o.key === s.key ? "delete" : "add"](o.key)); }
          else hidden[hidden.has(s.key) ? "delete" : "add"](s.key);
          at = null; draw(); keys();
        });
        return button;
      }));
    }

    function draw() {
      width = Math.max(Math.round(view.figure.clientWidth), 240);
      const unit = value.axes[axis].unit, series = shown(), parts = [];
      const all = series.flatMap((s) => s.points);
      const full = value.full && value.full.x[axis];
      const most = unit === "%" ? (all.every((p) => xOf(p) <= 0.5) ? 0.5 : 1) : Math.max(...all.map(xOf), full || 0, 1) * 1.04;
      const yTop = value.unit === "%" ? 1 : Math.max(...all.map((p) => p.hi), value.full?.y || 0, 1) * 1.05;
      const box = { left: value.unit === "%" ? 46 : 52, right: width - 12, top: value.mark ? 26 : 14, bottom: HEIGHT - 40 };
      const X = (x) => box.left + (x / most) * (box.right - box.left);
      const mark = value.mark && unit === "%" && !hidden.has(value.mark.series) ? value.mark : null;
      const fullWords = value.full ? `Full cache ${format(value.full.y, value.unit)}` : "";
      // On a phone the words over the picture would stand in one another: the mark's go a line higher.
      const higher = mark && X(mark.x) + (mark.text.length / 2) * CHARACTER + 8 > box.right - fullWords.length * CHARACTER ? 15 : 0;
      box.top += higher;
      const Y = (y) => box.bottom - (y / yTop) * (box.bottom - box.top);
      const yStep = value.unit === "%" ? 0.25 : rounded(yTop, "");
      for (let y = 0; y <= yTop + 1e-9; y += yStep) {
        parts.push(svg("line", { class: y ? "grid" : "base", x1: box.left, x2: box.right, y1: Y(y), y2: Y(y) }));
        parts.push(svg("text", { x: box.left - 8, y: Y(y) + 4, "text-anchor": "end" }, format(y, value.unit)));
      }
      const xStep = unit === "%" ? (width < 460 ? 0.25 : 0.1) : rounded(most, unit) * (width < 460 ? 2 : 1);
      for (let x = 0; x <= most + 1e-9; x += xStep)
        parts.push(svg("text", { x: X(x), y: box.bottom + 17, "text-anchor": X(x) > width - 22 ? "end" : "middle" }, x ? format(x, unit) : "0"));
      parts.push(svg("text", { x: (box.left + box.right) / 2, y: HEIGHT - 4, "text-anchor": "middle" }, value.axes[axis].title));
      if (value.full) {
        parts.push(svg("line", { class: "whole", x1: box.left, x2: box.right, y1: Y(value.full.y), y2: Y(value.full.y) }));
        parts.push(svg("text", { class: "t-full halo", x: box.right, y: Y(value.full.y) - 6 < 11 ? Y(value.full.y) + 15 : Y(value.full.y) - 6, "text-anchor": "end" }, fullWords));
      }
      if (mark) {
        const x = X(mark.x);
        parts.push(svg("line", { class: "marker", x1: x, x2: x, y1: box.top - 8, y2: box.bottom }));
        parts.push(svg("text", { class: "mark halo", x, y: box.top - 13 - higher, "text-anchor": "middle" }, mark.text));
      }
      points = [];
      [...series].reverse().forEach((s) => { // the first on top
        const group = svg("g", { class: `curve m-${s.colour}`, "data-series": s.key }), sorted = [...s.points].sort((a, b) => xOf(a) - xOf(b));
        if (sorted.length > 1)
          group.append(svg("path", { class: "line", d: sorted.map((p, k) => `${k ? "L" : "M"}${X(xOf(p)).toFixed(1)} ${Y(p.y).toFixed(1)}`).join("") }));
        for (const p of sorted) {
          const x = X(xOf(p)), y = Y(p.y);
          if (p.hi > p.lo) group.append(svg("path", { class: "whisker", d: `M${x} ${Y(p.lo)}V${Y(p.hi)}M${x - 3} ${Y(p.lo)}h6M${x - 3} ${Y(p.hi)}h6` }));
          const dot = svg("path", { class: "shape", transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`, d: SHAPES[ORDER[s.shape % ORDER.length]](4.2) });
          dot.dataset.y = p.y; dot.dataset.sparsity = p.sparsity;
          group.append(dot);
          points.push({ x, y, p, s });
        }
        parts.push(group);
      });
      points.sort((a, b) => a.x - b.x || a.y - b.y);
      view.picture.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
      view.picture.style.height = `${HEIGHT}px`;
      view.picture.replaceChildren(...parts);
      show(at);
    }

    function show(i) {
      view.picture.querySelector(".cursor")?.remove();
      at = i === null || !points.length ? null : Math.max(0, Math.min(i, points.length - 1));
      view.card.hidden = at === null;
      view.figure.classList.toggle("pointing", at !== null);
      for (const g of view.picture.querySelectorAll(".curve")) g.classList.toggle("on", at !== null && g.dataset.series === points[at].s.key);
      if (at === null) return;
      const { x, y, p, s } = points[at];
      view.picture.append(svg("circle", { class: "cursor", cx: x, cy: y, r: 9 }));
      const lines = [el("b", "", s.title), el("span", "", `${Number((100 * p.sparsity).toPrecision(4))} % of heads compressed, ${p.kept} kept`)];
      for (const [name, text] of p.facts) { const row = el("div"); row.append(el("small", "", name), el("span", "", text)); lines.push(row); }
      view.card.replaceChildren(...lines);
      const wide = view.card.offsetWidth, left = x + wide + 20 > width ? x - wide - 14 : x + 14;
      view.card.style.left = `${Math.max(0, left)}px`;
      view.card.style.top = `${Math.max(0, Math.min(y - 20, HEIGHT - view.card.offsetHeight - 4))}px`;
    }
    const nearest = (event) => {
      const box = view.picture.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
      let best = null, least = 1600;
      points.forEach((o, i) => { const d = (o.x - x) ** 2 + (o.y - y) ** 2; if (d < least) { least = d; best = i; } });
      return best;
    };
    view.picture.addEventListener("pointermove", (e) => show(nearest(e)));
    view.picture.addEventListener("pointerdown", (e) => show(nearest(e)));
    view.picture.addEventListener("pointerleave", () => show(null));
    view.picture.addEventListener("blur", () => show(null));
    view.picture.addEventListener("keydown", (e) => {
      const now = at ?? -1, to = { ArrowRight: now + 1, ArrowLeft: now - 1, Home: 0, End: points.length - 1, Escape: null }[e.key];
      if (to === undefined) return;
      e.preventDefault();
      show(to === null ? null : Math.max(0, to));
    });
    new ResizeObserver(() => value && Math.abs(view.figure.clientWidth - width) > 1 && draw()).observe(view.figure);

    // All that can be seen, whatever the curves are drawn against now; only shares have intervals.
    function rows() {
      const others = value.axes.slice(1), spans = value.unit === "%";
      const row = (name, p) => [name, p.x[0], ...others.map((_, i) => p.x[i + 1]), p.y, ...(spans ? [p.lo, p.hi] : [])];
      return [["method", "sparsity", ...others.map((a) => a.short.toLowerCase()), value.title.toLowerCase(), ...(spans ? ["low", "high"] : [])],
        ...(value.full ? [row("Full cache", value.full)] : []), ...value.series.flatMap((s) => s.points.map((p) => row(s.title, p)))];
    }
    const shownKeys = () => [...view.legend.children].filter((b) => b.getAttribute("aria-pressed") === "true")
      .map((b) => ({ mark: b.querySelector(".shape"), text: b.textContent, width: b.offsetWidth }));
    return (next) => {
      root.hidden = !next;
      if (!next) return;
      value = next;
      if (axis >= value.axes.length) axis = 0;
      view.title.textContent = value.title;
      view.note.textContent = value.note;
      view.picture.setAttribute("aria-label", value.summary);
      keys();
      draw();
      view.table.replaceChildren(el("caption", "", value.title), ...rows().map((row, i) => {
        const line = el("tr");
        row.forEach((cell) => line.append(el(i ? "td" : "th", "", typeof cell === "number" ? format(cell) : cell)));
        return line;
      }));
      if (!view.exported && window.rlkvExport)
        view.exported = window.rlkvExport.attach(view.top, { name: () => value.name, title: () => value.title, svg: () => view.picture, rows, keys: shownKeys });
    };
  }

  window.rlkvEvalCurves = { mount };
})();
