// Two recorded answers side by side and what their KV caches hold, on the first page and in the
// stories. It knows nothing of Gradio or of models.
// All text goes in through textContent, so nothing a model writes can become markup.
(() => {
  const { el, svg, niceStep, niceTop } = window.rlkvDom;
  const three = (v) => (v >= 100 ? v.toFixed(0) : v >= 10 ? v.toFixed(1) : v.toFixed(2));
  const bytes = (n) => {
    for (const unit of ["B", "KiB", "MiB", "GiB"]) {
      if (n < 1024) return unit === "B" ? `${n.toFixed(0)} B` : `${three(n)} ${unit}`;
      n /= 1024;
    }
    return `${three(n)} TiB`;
  };
  const STOPS = {
    end: "finished", length: "reached the token limit",
    repetition: "stopped: it repeats itself", stopped: "stopped by you",
  };

  // "<think>work</think>answer" -> the two parts; `closed` once the thinking has ended.
  const split = (text) => {
    const body = text.replace(/^\s*<think>/, "");
    const end = body.lastIndexOf("</think>");
    if (end < 0) return { thought: body, answer: "", closed: false };
    return { thought: body.slice(0, end), answer: body.slice(end + 8).trim(), closed: true };
  };

  // Bytes held at a length, read off a measured curve [[tokens, bytes], ...].
  const at = (curve, length) => {
    let value = null;
    for (const [x, y] of curve) if (x <= length) value = y;
    return value;
  };
  const last = (curve) => curve[curve.length - 1];

  // KV saved where both sides can be compared: at the shorter one's length.
  const saved = (curves) => {
    const [a, b] = curves;
    if (!a || !b || !a.length || !b.length) return null;
    const length = Math.min(last(a)[0], last(b)[0]);
    const full = at(a, length), compressed = at(b, length);
    return full > 0 && compressed !== null ? 1 - compressed / full : null;
  };

  function buildSide(side) {
    const root = el("section", `side ${side.role}`);
    root.setAttribute("aria-label", `${side.label} KV cache`);
    const who = el("div", "who", side.label);
    const hint = el("small"); who.append(hint);
    const fold = el("details"); fold.open = true;
    const summary = el("summary", "", "Thinking");
    const thought = el("div", "thought");
    thought.tabIndex = 0;
    fold.append(summary, thought);
    const answer = el("div", "answer");
    const figures = el("dl"), values = {};
    for (const [key, name] of [["n", "Tokens"], ["speed", "Tokens/s"], ["bytes", "KV memory"]]) {
      const cell = el("div"); values[key] = el("dd", "", "–"); values[key].dataset.figure = key;
      cell.append(el("dt", "", name), values[key]); figures.append(cell);
    }
    root.append(who, fold, answer, figures);
    return { root, hint, summary, thought, answer, values };
  }

  function paintSide(view, side) {
    const { thought, answer, closed } = split(side.text);
    const live = !side.stop && side.n > 0;
    view.hint.textContent = side.hint || "";
    view.summary.textContent = closed ? "Thoughts" : "Thinking";
    if (view.thought.dataset.text !== thought) {
      view.thought.dataset.text = thought;
      view.thought.textContent = thought;
      if (live && !closed) view.thought.append(el("span", "caret"));
      view.thought.scrollTop = view.thought.scrollHeight;
    } else if (!live) view.thought.querySelector(".caret")?.remove();
    const shown = answer || (side.stop ? `No answer: ${STOPS[side.stop] || side.stop}.` : "");
    view.answer.className = `answer${answer ? (answer.length > 40 ? " long" : "") : " none"}`;
    view.answer.textContent = shown;
    if (side.stop && answer && typeof side.right === "boolean")
      view.answer.append(el("span", `verdict ${side.right ? "right" : "wrong"}`, side.right ? "✓ right" : "✗ wrong"));
    view.values.n.textContent = side.n ? String(side.n) : "–";
    view.values.speed.textContent = side.n > 1 && side.seconds > 0 ? ((side.n - 1) / side.seconds).toFixed(1) : "–";
    view.values.bytes.textContent = side.bytes ? bytes(side.bytes) : "–";
    view.values.bytes.dataset.bytes = side.bytes || 0;
    view.root.dataset.stop = side.stop || "";
  }

  function drawChart(node, frame) {
    const width = Math.max(node.clientWidth || 320, 240), height = 236;
    const box = { left: 58, right: width - 92, top: 10, bottom: height - 30 };
    const xs = frame.curves.flat().map((p) => p[0]), ys = frame.curves.flat().map((p) => p[1]);
    const xMin = frame.xMin ?? (xs.length ? Math.min(...xs) : 0);
    const xMax = Math.max(frame.xMax ?? niceTop(Math.max(...xs, 40)), xMin + 1);
    const yTop = Math.max(frame.yMax ?? 0, ...ys, ys.length ? 1024 : 1024 * 512) * 1.06;
    const X = (x) => box.left + ((x - xMin) / (xMax - xMin)) * (box.right - box.left);
    const Y = (y) => box.bottom - (y / yTop) * (box.bottom - box.top);
    const parts = [];
    const step = niceStep(yTop);
    for (let y = 0; y <= yTop; y += step) {
      parts.push(svg("line", { class: "grid", x1: box.left, x2: box.right, y1: Y(y), y2: Y(y) }));
      parts.push(svg("text", { x: box.left - 8, y: Y(y) + 4, "text-anchor": "end" }, y ? bytes(y) : "0"));
    }
    parts.push(svg("text", { x: box.left, y: height - 9 }, `${xMin} tokens`));
    parts.push(svg("text", { x: box.right, y: height - 9, "text-anchor": "end" }, String(xMax)));
    const ends = frame.curves.map((curve, i) => {
      if (!curve.length) return null;
      const role = frame.sides[i].role, [x, y] = last(curve);
      const path = curve.map((p, k) => `${k ? "L" : "M"}${X(p[0]).toFixed(1)} ${Y(p[1]).toFixed(1)}`).join("");
      parts.push(svg("path", { class: `line ${role}`, d: path, "data-points": curve.length }));
      parts.push(svg("circle", { class: `dot ${role}`, cx: X(x), cy: Y(y), r: 4 }));
      return { role, x: X(x) + 10, y: Y(y) + 4, text: bytes(y), name: frame.sides[i].short };
    }).filter(Boolean);
    ends.sort((a, b) => a.y - b.y);
    for (let i = 1; i < ends.length; i++) ends[i].y = Math.max(ends[i].y, ends[i - 1].y + 32);
    for (const end of ends) {
      parts.push(svg("text", { class: `end ${end.role}`, x: end.x, y: end.y - 4 }, end.name));
      parts.push(svg("text", { class: `end ${end.role}`, x: end.x, y: end.y + 11 }, end.text));
    }
    node.setAttribute("viewBox", `0 0 ${width} ${height}`);
    node.replaceChildren(...parts);
  }

  function buildChart() {
    const root = el("div", "chart"), sum = el("div", "sum");
    const big = el("span", "big"), words = el("span");
    big.dataset.figure = "saved";
    sum.append(big, words);
    const picture = svg("svg", { role: "img", "aria-label": "KV memory of both sides against tokens" });
    root.append(sum, picture);
    const view = { root, big, words, picture, frame: null };
    const rows = () => [["side", "tokens", "KV bytes"],
      ...view.frame.curves.flatMap((curve, i) => curve.map((point) => [view.frame.sides[i].label, ...point]))];
    window.rlkvExport?.attach(sum, { name: "kv-memory", title: "KV memory against tokens", svg: () => picture, rows });
    return view;
  }

  function paintChart(view, frame) {
    const share = saved(frame.curves);
    view.frame = frame;
    view.big.textContent = share === null ? "" : `${(100 * share).toFixed(0)} % KV saved`;
    view.words.textContent = share === null ? "KV memory appears here, measured token by token" : frame.agree || "at this length";
    drawChart(view.picture, frame);
  }

  // mount(root) -> paint(frame); frame = {sides: [{role, label, short, hint, text, n, seconds,
  // bytes, stop, right}], curves: [[[tokens, bytes], ...], ...], agree, xMin, xMax, yMax}.
  function mount(root) {
    let views = null, chart = null, current = null, roles = "";
    new ResizeObserver(() => current && paintChart(chart, current)).observe(root);
    return (frame) => {
      const key = frame.sides.map((s) => s.role + s.label).join("|");
      if (key !== roles) {
        roles = key;
        views = frame.sides.map(buildSide);
        chart = buildChart();
        root.replaceChildren(...views.map((v) => v.root), chart.root);
      }
      current = frame;
      frame.sides.forEach((side, i) => paintSide(views[i], side));
      paintChart(chart, frame);
    };
  }

  const steps = (side) => side.steps;

  // Plays a recording {prompt, answer, sides: [{label, role, steps, ...}]} in `element`.
  function play(element, recording) {
    const root = element.querySelector(".race"), again = element.querySelector("button");
    const paint = mount(root);
    const total = Math.max(...recording.sides.map((s) => steps(s).length));
    const all = recording.sides.flatMap(steps);
    const bounds = {
      xMin: Math.min(...all.map((s) => s.length)), xMax: Math.max(...all.map((s) => s.length)),
      yMax: Math.max(...all.map((s) => s.kv_bytes)),
    };
    const frameAt = (k) => ({
      ...bounds,
      agree: k >= total ? recording.agree : "",
      curves: recording.sides.map((s) => steps(s).slice(0, k).map((p) => [p.length, p.kv_bytes])),
      sides: recording.sides.map((s) => {
        const step = steps(s)[Math.min(k, steps(s).length) - 1];
        return {
          ...s, text: step ? step.text : "", n: step ? step.n_tokens : 0,
          seconds: step ? step.seconds : 0, bytes: step ? step.kv_bytes : 0,
          stop: k >= steps(s).length ? s.stop_reason || "end" : null,
        };
      }),
    });
    let timer = null;
    const start = () => {
      clearInterval(timer);
      let k = 0;
      paint(frameAt(0));
      timer = setInterval(() => {
        if (!root.isConnected) return clearInterval(timer);
        paint(frameAt(++k));
        if (k >= total) { clearInterval(timer); again.textContent = "Play again"; }
      }, Math.max(24, Math.min(70, 7000 / total)));
    };
    again.addEventListener("click", start);
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) { paint(frameAt(total)); again.textContent = "Play"; }
    else start();
  }

  window.rlkvRace = { play };
})();
