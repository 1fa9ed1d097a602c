// One answer as it is written: tokens appended to the page and never rebuilt, thinking folded, each
// token with what was measured at it. It knows columns of tokens, nothing of runs or of Gradio.
// All text goes in through textContent, so nothing a model writes can become markup.
(() => {
  const { el, format, place } = window.rlkvDom;
  const OPEN = "<think>", CLOSE = "</think>";
  const FULL_KL = 1; // nats that get the strongest colour, as in components/tokens.py
  const spoken = (text) => (text.trim() ? text : text === "" ? "end of text" : text.replace(/ /g, "␣").replace(/\n/g, "↵").replace(/\t/g, "⇥"));

  let card = null;
  const cardNode = () => {
    if (!card || !card.isConnected) {
      card = el("div", "tok-card"); card.hidden = true;
      card.setAttribute("role", "status");
      document.body.append(card);
    }
    return card;
  };
  const hide = () => { if (card) card.hidden = true; };

  // What to say of a token: {t, p, k} are the side's columns, `note` lines of ours for some of them.
  function words(cols, i, note) {
    const lines = [];
    if (Number.isFinite(cols.p?.[i])) lines.push(`probability ${format(cols.p[i], "%")} on this side`);
    if (Number.isFinite(cols.k?.[i])) lines.push(`KL from the first side ${format(cols.k[i])} nats`);
    return note ? [...lines, ...note.split("\n")] : lines;
  }

  // create(label) -> {root, push, mark, clear, finish}
  function create(label) {
    const root = el("div", "token-text"), fold = el("details", "fold"), summary = el("summary", "", "Thinking");
    const thought = el("div", "thought"), answer = el("div", "answer");
    root.tabIndex = 0;
    root.setAttribute("role", "group");
    root.setAttribute("aria-label", `${label}: arrow keys go through the tokens`);
    fold.open = true; fold.hidden = true;
    fold.append(summary, thought);
    root.append(fold, answer);
    let spans = [], mode = "start", text = "", cols = {}, notes = {}, here = null, caret = null, byHand = false, begun = false;
    summary.addEventListener("click", () => { byHand = true; });

    const hideTag = (from, to) => {
      // Spans lie end to end in `text`; walk back over those that hold the tag.
      let end = text.length;
      for (let i = spans.length - 1; i >= 0 && end > from; i--) {
        const begin = end - spans[i].size;
        if (begin < to && !spans[i].node.dataset.tag) {
          const word = text.slice(begin, end);
          spans[i].node.textContent = word.slice(0, Math.max(0, from - begin)) + word.slice(Math.max(0, to - begin));
          spans[i].node.dataset.tag = "1";
        }
        end = begin;
      }
    };
    // A line is a block of its own, so that a new token moves nothing but the last line.
    const put = (box, node) => {
      if (!box.line) { box.line = el("div", "ln"); box.append(box.line); }
      box.line.append(node);
      if (node.textContent.includes("\n")) box.line = null;
    };
    const empty = (box) => { box.replaceChildren(); box.line = null; };
    const toThought = () => {
      fold.hidden = false;
      empty(answer);
      for (const span of spans) put(thought, span.node);
    };
    const advance = () => {
      if (mode === "start") {
        const body = text.trimStart();
        if (body.startsWith(OPEN)) {
          const at = text.indexOf(OPEN);
          hideTag(at, at + OPEN.length);
          mode = "think"; toThought();
        } else if (body && !OPEN.startsWith(body)) mode = "answer";
      }
      if (mode === "done") return;
      const at = text.lastIndexOf(CLOSE);
      if (at < 0 || mode === "start") return;
      if (mode === "answer") toThought(); // it thought without saying so
      hideTag(at, at + CLOSE.length);
      // What stands behind the tag in the same token belongs to the answer.
      const last = spans[spans.length - 1];
      if (last && text.length > at + CLOSE.length) { last.node.textContent = last.node.textContent.trimStart(); begun = last.node.textContent !== ""; put(answer, last.node); }
      mode = "done";
      summary.textContent = "Thoughts";
      if (!byHand) fold.open = false;
    };
    // The tail is enough to see a tag end, so long answers stay cheap.
    const append = (piece, index) => {
      const node = el("span", "tk");
      // Blank lines between the thoughts and the answer are not shown.
      node.textContent = mode === "done" && !begun ? piece.trimStart() : piece;
      begun ||= mode === "done" && node.textContent !== "";
      if (index !== null) node.dataset.i = index;
      spans.push({ node, size: piece.length });
      text += piece;
      put(mode === "think" ? thought : answer, node);
      if (mode === "start" || (mode !== "done" && piece.includes(">"))) advance();
      return node;
    };
    const tone = (i) => {
      const kl = cols.k?.[i];
      if (!Number.isFinite(kl) || kl < 0.002) return;
      spans[i + offset].node.style.setProperty("--w", Math.min(1, Math.sqrt(Math.max(kl, 0) / FULL_KL)).toFixed(2));
      spans[i + offset].node.classList.add("moved");
    };
    const placeCaret = () => { const box = mode === "think" ? thought : answer; (box.line || box).append(caret); };
    let offset = 0; // 1 where the template has opened the thinking part itself

    const api = {
      root,
      get count() { return spans.length - offset; },
      get text() { return text; },
      // Tokens `from`..`to` of the columns; `opening` is what the prompt already began.
      push(columns, to, opening) {
        cols = columns;
        if (!spans.length && opening) { append(opening, null).dataset.tag = "1"; offset = 1; }
        for (let i = spans.length - offset; i < to; i++) { append(cols.t[i], i); tone(i); }
        if (caret) placeCaret();
        if (mode === "think" && fold.open) thought.scrollTop = thought.scrollHeight;
      },
      live(on) {
        if (on && !caret) { caret = el("span", "caret"); placeCaret(); }
        if (!on && caret) { caret.remove(); caret = null; }
      },
      // The first token that is another one than on the first side, and the breaks.
      mark(i, kind, note) {
        const span = spans[i + offset]?.node;
        notes[i] = note || notes[i];
        if (span && !span.classList.contains(kind)) span.classList.add(kind);
      },
      fold(open) { fold.open = open; },
      clear() {
        spans = []; mode = "start"; text = ""; notes = {}; here = null; offset = 0; caret = null; begun = false;
        empty(thought); empty(answer);
        fold.hidden = true; if (!byHand) fold.open = true; summary.textContent = "Thinking";
      },
    };

    const visit = (i, speak) => {
      if (here !== null) spans[here + offset]?.node.classList.remove("here");
      here = i;
      const span = i === null ? null : spans[i + offset]?.node;
      if (!span) { here = null; hide(); return; }
      if (speak && fold.contains(span)) fold.open = true;
      span.classList.add("here");
      const box = cardNode();
      box.replaceChildren(el("b", "", spoken(cols.t[i])), el("small", "", `token ${i + 1}`), ...words(cols, i, notes[i]).map((line) => el("span", "", line)));
      box.hidden = false;
      if (speak) span.scrollIntoView({ block: "nearest" });
      place(box, span.getClientRects()[0] || span.getBoundingClientRect());
    };
    const indexOf = (e) => { const span = e.target.closest?.(".tk[data-i]"); return span ? +span.dataset.i : null; };
    root.addEventListener("pointerover", (e) => { if (e.pointerType === "mouse") { const i = indexOf(e); if (i !== null) visit(i, false); } });
    root.addEventListener("pointerleave", () => visit(null));
    root.addEventListener("click", (e) => { const i = indexOf(e); if (i !== null) visit(i, false); });
    root.addEventListener("blur", () => visit(null));
    thought.addEventListener("scroll", hide);
    root.addEventListener("keydown", (e) => {
      if (e.target !== root) return;
      const last = spans.length - offset - 1, now = here ?? -1;
      const to = { ArrowRight: now + 1, ArrowDown: now + 1, ArrowLeft: now < 0 ? last : now - 1, ArrowUp: now < 0 ? last : now - 1, Home: 0, End: last }[e.key];
      if (to === undefined || last < 0) return;
      visit(Math.max(0, Math.min(last, to)), true);
      e.preventDefault();
    });
    return api;
  }

  window.rlkvChatText = { create, spoken };
})();
