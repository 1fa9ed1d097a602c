// Small charts in the app's one design: bars, lines and stacked shares, as SVG. It knows the plain
// values that components/charts.py makes, and nothing of Gradio, heads or models.
(() => {
  const { el, svg, format } = window.rlkvDom;
  const CHARACTER = 6.7; // mean width of 12 px text, to make room before it is drawn
  const widest = (texts) => CHARACTER * Math.max(0, ...texts.map((t) => t.length));

  // Round steps inside lo..hi, about `want` of them; bytes go by powers of 1024.
  const ticksOf = (lo, hi, want, unit) => {
    const scale = unit === "B" ? 1024 ** Math.floor(Math.log(Math.max(hi, 1)) / Math.log(1024)) : 1;
    const raw = (hi - lo) / scale / want || 1, p = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 2.5, 5, 10].find((m) => m * p >= raw * 0.999) * p * scale;
    const ticks = [];
    for (let i = Math.ceil(lo / step - 1e-9); i * step <= hi + step * 1e-9; i++) ticks.push(+(i * step).toPrecision(12));
    return { ticks, step };
  };
  const scaleY = (range, values, unit) => {
    let lo = range?.[0] ?? Math.min(0, ...values), hi = range?.[1] ?? Math.max(...values, lo);
    if (!(hi > lo)) hi = lo + 1;
    const { step } = ticksOf(lo, hi, 3, unit);
    if (!range) { lo = Math.floor(lo / step + 1e-9) * step; hi = Math.ceil(hi / step - 1e-9) * step; }
    return { lo, hi, ticks: ticksOf(lo, hi, 3, unit).ticks };
  };

  // Keys of the series over the picture, in as many rows as they need. -> height used
  function drawKeys(parts, items, width) {
    let x = 0, y = 10;
    for (const { role, text, dots } of items) {
      const need = 17 + text.length * CHARACTER + 14;
      if (x && x + need > width) { x = 0; y += 18; }
      if (dots) parts.push(svg("circle", { class: `key r-${role}`, cx: x + 5.5, cy: y - 3, r: 3.2 })); // as its points are
      else parts.push(svg("rect", { class: `key r-${role}`, x: x + 0.5, y: y - 8, width: 10, height: 10, rx: 2.5 }));
      parts.push(svg("text", { class: "word", x: x + 16, y: y + 1 }, text));
      x += need;
    }
    return items.length ? y + 12 : 0;
  }

  // Axes of bars and lines. -> {X, Y, Y2, box}
  function drawAxes(parts, value, spec, width, height, top) {
    const left = spec.y.ticks.map((v) => format(v, value.unit));
    const right = spec.y2 ? spec.y2.ticks.map((v) => format(v, value.unit2)) : [];
    const box = {
      left: widest(left) + 9, right: width - (right.length ? widest(right) + 9 : spec.ends || 7),
      top: top + (value.y || value.y2 || value.marker?.text ? 22 : 8), bottom: height - (value.x ? 36 : 20),
    };
    const X = (x) => box.left + ((x - spec.x[0]) / (spec.x[1] - spec.x[0] || 1)) * (box.right - box.left);
    const scale = (s) => (y) => box.bottom - ((y - s.lo) / (s.hi - s.lo)) * (box.bottom - box.top);
    const Y = scale(spec.y), Y2 = spec.y2 ? scale(spec.y2) : Y;
    spec.y.ticks.forEach((v, i) => {
      parts.push(svg("line", { class: v === spec.y.lo ? "base" : "grid", x1: box.left, x2: box.right, y1: Y(v), y2: Y(v) }));
      parts.push(svg("text", { x: box.left - 7, y: Y(v) + 4, "text-anchor": "end" }, left[i]));
    });
    right.forEach((text, i) => parts.push(svg("text", { x: box.right + 7, y: Y2(spec.y2.ticks[i]) + 4 }, text)));
    if (value.y) parts.push(svg("text", { x: 0, y: top + 10 }, value.y));
    if (value.y2) parts.push(svg("text", { x: width, y: top + 10, "text-anchor": "end" }, value.y2));
    if (value.x) parts.push(svg("text", { x: (box.left + box.right) / 2, y: height - 4, "text-anchor": "middle" }, value.x));
    return { X, Y, Y2, box };
  }
  // Labels under the axis: all of them, or every second, third, ... so that none touch.
  function drawX(parts, box, places) {
    const spots = places.map(([x, text]) => {
      const half = widest([text]) / 2;
      return { text, half, x: Math.max(box.left - 6 + half, Math.min(x, box.right + 6 - half)) };
    });
    const fits = (k) => spots.every((b, i) => i < k || i % k || spots[i - k].x + spots[i - k].half + 7 <= b.x - b.half);
    const stride = [1, 2, 3, 4, 5, 8, 10, 16, 20, 32].find(fits) || 64;
    spots.forEach(({ x, text }, i) => {
      if (i % stride === 0) parts.push(svg("text", { x, y: box.bottom + 15, "text-anchor": "middle" }, text));
    });
  }
  function drawMarker(parts, marker, { X, box }, title) {
    if (!marker) return;
    const x = X(marker.x), flip = x > (box.left + box.right) / 2, room = widest([marker.text || ""]) + 5;
    // Over the plot, or inside it where the title of the axis stands there.
    const clear = widest([title || ""]) + 8 < (flip ? x - room : x);
    parts.push(svg("line", { class: "marker", x1: x, x2: x, y1: box.top - 4, y2: box.bottom }));
    if (marker.text)
      parts.push(svg("text", { class: "mark halo", x: x + (flip ? -5 : 5), y: clear ? box.top - 8 : box.top + 9, "text-anchor": flip ? "end" : "start" }, marker.text));
  }

  function bars(value, width) {
    const parts = [], { series, labels } = value, height = value.height || 168;
    const n = labels.length, edges = value.edges || Array.from({ length: n + 1 }, (_, i) => i);
    const top = drawKeys(parts, series.length > 1 ? series.map((s) => ({ role: s.role, text: s.name })) : [], width);
    const totals = labels.map((_, i) => series.reduce((sum, s) => sum + (s.values[i] || 0), 0));
    const y = scaleY(value.range, [...totals, ...series.flatMap((s) => s.values)].filter(Number.isFinite), value.unit);
    const axes = drawAxes(parts, value, { x: [edges[0], edges[n]], y }, width, height, top), { X, Y, box } = axes;
    const middle = (i) => X((edges[i] + edges[i + 1]) / 2), reach = [];
    labels.forEach((label, i) => {
      const band = X(edges[i + 1]) - X(edges[i]), words = reading(i);
      const gap = value.edges ? Math.min(4, band * 0.18) : Math.max(Math.min(4, band * 0.18), band - 84);
      let base = 0;
      series.forEach((s) => {
        const v = s.values[i] || 0, from = Y(Math.max(base, y.lo)), to = Y(base + v);
        base += v;
        parts.push(svg("rect", {
          class: `bar r-${s.roles?.[i] || s.role}`, x: X(edges[i]) + gap / 2, y: Math.min(from, to), "data-title": words,
          width: Math.max(0.6, band - gap), height: Math.max(v ? 1 : 0, Math.abs(from - to)), rx: Math.min(2, gap),
        }));
      });
      reach.push(middle(i));
    });
    drawX(parts, box, value.edges ? ticksOf(edges[0], edges[n], width < 400 ? 3 : 5).ticks.map((x) => [X(x), format(x)])
      : labels.map((text, i) => [middle(i), text]));
    drawMarker(parts, value.marker, axes, value.y);
    function reading(i) {
      const numbers = series.map((s) => (s.name && series.length > 1 ? `${s.name} ` : "") + format(s.values[i], value.unit));
      return `${value.hover?.[i] || `${value.x ? `${value.x} ` : ""}${labels[i]}`}: ${numbers.join(" · ")}`;
    }
    const cursor = (i) => svg("rect", {
      class: "at", x: X(edges[i]), width: X(edges[i + 1]) - X(edges[i]), y: box.top, height: box.bottom - box.top, rx: 3,
    });
    const rows = [[value.x || "", ...series.map((s) => s.name || value.y || "value")],
      ...labels.map((text, i) => [text, ...series.map((s) => s.values[i] ?? null)])];
    return { parts, height, reach, reading, cursor, rows };
  }

  function lines(value, width) {
    const parts = [], { series } = value, height = value.height || 168, direct = value.ends && width >= 420;
    const top = drawKeys(parts, series.length > 1 && !direct ? series.filter((s) => !s.faint).map((s) => ({ role: s.role, text: s.name, dots: s.dots })) : [], width);
    const side = (right) => series.filter((s) => (s.axis === "right") === right).flatMap((s) => s.points.map((p) => p[1])).filter(Number.isFinite);
    const xs = [...new Set(series.flatMap((s) => s.points.map((p) => p[0])))].sort((a, b) => a - b);
    const x = value.xRange || [xs[0] ?? 0, xs[xs.length - 1] ?? 1];
    const axes = drawAxes(parts, value, {
      x, y: scaleY(value.range, side(false), value.unit),
      y2: side(true).length ? scaleY(value.range2, side(true), value.unit2) : null,
      ends: direct ? widest(series.map((s) => s.name)) + 16 : 0,
    }, width, height, top);
    const { X, Y, Y2, box } = axes, ends = [];
    drawX(parts, box, ticksOf(x[0], x[1], width < 400 ? 3 : 5, value.xUnit).ticks.map((v) => [X(v), format(v, value.xUnit)]));
    for (const s of series) {
      const at = s.axis === "right" ? Y2 : Y, dots = s.points.filter((p) => Number.isFinite(p[1]));
      const path = dots.map((p, k) => `${k ? (s.step ? `H${X(p[0]).toFixed(1)}V` : `L${X(p[0]).toFixed(1)} `) : `M${X(p[0]).toFixed(1)} `}${at(p[1]).toFixed(1)}`);
      parts.push(svg("path", { class: `line r-${s.role}${s.axis === "right" ? " thin" : ""}${s.faint ? " faint" : ""}${s.dots ? " marked" : ""}`, d: path.join(""), "data-title": s.name || value.title }));
      if (value.dots || s.dots) for (const p of dots)
        parts.push(svg("circle", { class: `dot r-${s.role}`, cx: X(p[0]), cy: at(p[1]), r: 3.2, "data-title": `${format(p[0], value.xUnit)}: ${format(p[1], value.unit)}` }));
      if (direct && dots.length) ends.push({ s, y: at(dots[dots.length - 1][1]), x: X(dots[dots.length - 1][0]) });
    }
    ends.sort((a, b) => a.y - b.y).forEach((end, i) => {
      if (i) end.y = Math.max(end.y, ends[i - 1].y + 15);
      parts.push(svg("text", { class: `word t-${end.s.role}`, x: end.x + 8, y: end.y + 4 }, end.s.name));
    });
    drawMarker(parts, value.marker, axes, value.y);
    // What a series holds at x: its value there, or the last one before.
    const holds = (s, at) => s.points.reduce((v, p) => (p[0] <= at ? p : v), null);
    const reading = (i) => `${value.x || "x"} ${format(xs[i], value.xUnit)}: ` + series.filter((s) => !s.faint).map((s) => {
      const p = holds(s, xs[i]), unit = s.axis === "right" ? value.unit2 : value.unit;
      return `${s.name ? `${s.name} ` : ""}${p ? format(p[1], unit) : "–"}`;
    }).join(" · ");
    const cursor = (i) => {
      const group = svg("g");
      group.append(svg("line", { class: "hair", x1: X(xs[i]), x2: X(xs[i]), y1: box.top, y2: box.bottom }));
      for (const s of series.filter((one) => !one.faint)) {
        const p = holds(s, xs[i]);
        if (p && Number.isFinite(p[1])) group.append(svg("circle", { class: `dot r-${s.role}`, cx: X(p[0]), cy: (s.axis === "right" ? Y2 : Y)(p[1]), r: 4 }));
      }
      return group;
    };
    const exact = (s, at) => s.points.find((p) => p[0] === at)?.[1] ?? null;
    const rows = [[value.x || "x", ...series.map((s) => s.name || value.y || "y")], ...xs.map((at) => [at, ...series.map((s) => exact(s, at))])];
    return { parts, height, reach: xs.map(X), reading, cursor, rows };
  }

  // Rows of shares that sum to one, such as sinks / recent / far.
  function stack(value, width) {
    const parts = [], { rows, series } = value, one = rows.length === 1;
    const top = drawKeys(parts, series.map((s, k) => ({ role: s.role, text: one ? `${s.name} ${format(rows[0].shares[k], "%")}` : s.name })), width);
    const left = one && !rows[0].label ? 0 : Math.min(width * 0.4, widest(rows.map((r) => r.label)) + 12), bar = one ? 26 : 17, line = bar + 8;
    const reading = (i) => `${rows[i].label ? `${rows[i].label}: ` : ""}${series.map((s, k) => `${s.name} ${format(rows[i].shares[k], "%")}`).join(" · ")}`;
    rows.forEach((row, i) => {
      const sum = row.shares.reduce((a, b) => a + b, 0) || 1, y = top + i * line;
      if (left) parts.push(svg("text", { x: left - 10, y: y + bar / 2 + 4, "text-anchor": "end" }, row.label));
      let x = left;
      series.forEach((s, k) => {
        const w = (row.shares[k] / sum) * (width - left);
        if (w > 0.2) parts.push(svg("rect", { class: `bar r-${s.role}`, x, y, width: Math.max(0.2, w - 1.5), height: bar, rx: 3, "data-title": `${s.name} ${format(row.shares[k], "%")}` }));
        x += w;
      });
    });
    const cursor = (i) => svg("rect", { class: "at", x: left - 1, y: top + i * line - 2, width: width - left + 1, height: bar + 4, rx: 4 });
    const table = [["", ...series.map((s) => s.name)], ...rows.map((r) => [r.label, ...r.shares])];
    return { parts, height: top + rows.length * line - 6, vertical: true, reach: rows.map((_, i) => top + i * line + bar / 2), reading, cursor, rows: table };
  }

  const KINDS = { bars, lines, stack };

  function build(root) {
    const figure = el("figure", "fig"), top = el("figcaption"), title = el("b"), note = el("small", "note-line"), say = el("output");
    const picture = svg("svg", { role: "img", tabindex: "0" }), table = el("table", "unseen");
    const stage = el("div", "stage");
    top.append(title, note);
    stage.append(picture, say);
    figure.append(top, stage, table);
    root.replaceChildren(figure);
    return { figure, top, title, note, say, picture, table };
  }
  function fillTable(table, rows, caption) {
    table.replaceChildren(el("caption", "", caption), ...rows.map((row, i) => {
      const line = el("tr");
      row.forEach((cell, k) => line.append(el(i && k ? "td" : "th", "", typeof cell === "number" ? format(cell) : cell ?? "")));
      return line;
    }));
  }

  // mount(root) -> paint(value)
  function mount(root) {
    const view = build(root), { picture } = view;
    let value = null, chart = null, at = null, width = 0;
    const show = (i) => {
      picture.querySelector(".cursor")?.remove();
      at = i === null || !chart.reach.length ? null : Math.max(0, Math.min(i, chart.reach.length - 1));
      view.say.textContent = at === null ? "" : chart.reading(at);
      if (at === null) return;
      const group = svg("g", { class: "cursor" });
      group.append(chart.cursor(at));
      picture.append(group);
    };
    const draw = () => {
      width = Math.max(Math.round(view.figure.clientWidth), 200);
      chart = KINDS[value.kind](value, width);
      picture.setAttribute("viewBox", `0 0 ${width} ${chart.height}`);
      picture.style.height = `${chart.height}px`;
      picture.replaceChildren(...chart.parts);
      show(at);
    };
    const nearest = (event) => {
      const box = picture.getBoundingClientRect();
      const here = chart.vertical ? event.clientY - box.top : ((event.clientX - box.left) / box.width) * width;
      return chart.reach.reduce((best, x, i) => (Math.abs(x - here) < Math.abs(chart.reach[best] - here) ? i : best), 0);
    };
    picture.addEventListener("pointermove", (e) => { if (chart?.reach.length) { view.say.removeAttribute("aria-live"); show(nearest(e)); } });
    picture.addEventListener("pointerleave", () => chart && show(null));
    picture.addEventListener("blur", () => chart && show(null));
    picture.addEventListener("keydown", (e) => {
      const last = chart.reach.length - 1, now = at ?? -1;
      const to = { ArrowRight: now + 1, ArrowDown: now + 1, ArrowLeft: now < 0 ? last : now - 1, ArrowUp: now < 0 ? last : now - 1, Home: 0, End: last, Escape: null }[e.key];
      if (to === undefined) return;
      e.preventDefault();
      view.say.setAttribute("aria-live", "polite");
      show(to === null ? null : Math.max(0, to));
    });
    new ResizeObserver(() => value && Math.abs(view.figure.clientWidth - width) > 1 && draw()).observe(view.figure);
    return (next) => {
      if (!next) return;
      value = next; at = null;
      view.figure.dataset.kind = value.kind;
      view.title.textContent = value.title || "";
      view.note.textContent = value.note || "";
      picture.setAttribute("aria-label", value.summary || value.title);
      draw();
      fillTable(view.table, chart.rows, value.title);
      if (!view.exported && value.export !== false && window.rlkvExport) {
        view.exported = window.rlkvExport.attach(view.top, { name: () => value.name, title: () => value.title, svg: () => picture, rows: () => chart.rows });
      }
    };
  }

  window.rlkvCharts = { mount };
})();
