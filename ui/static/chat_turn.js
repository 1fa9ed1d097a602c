// One turn of a conversation: the question, and each side's answer with its figures. It knows the
// plain values that ui/chat makes and the columns of tokens; not where they come from.
(() => {
  const { el, format } = window.rlkvDom;
  const STOPS = {
    end: "finished", length: "stopped: the longest answer was reached", repetition: "stopped: it repeats itself",
    stopped: "stopped by you", memory: "stopped: this machine's memory is nearly full",
  };
  const COLUMNS = ["t", "p", "k", "b", "f", "l", "at"];
  const FOLD_AT = 700; // characters of a question that are shown at once
  const FIGURES = [
    ["bytes", "KV memory", "Bytes of keys and values that the cache held, read from its tensors"],
    ["formula", "By formula", "2 x head size x bytes a number x (kept x n + compressed x min(n, sink + recent))"],
    ["tokens", "Tokens", "Tokens written"],
    ["speed", "Tokens/s", "Decoding speed of this side alone, without the reading of the prompt"],
    ["first", "First token", "Time from the question to the first token: reading what of the prompt was not in the cache yet"],
    ["prefix", "Same as first", "Tokens from the beginning that are the same as on the first side"],
  ];
  const quoted = (token) => (token === null ? "the end" : `“${token.trim() || window.rlkvChatText.spoken(token)}”`);

  function button(words, title, go) {
    const node = el("button", "", words);
    node.type = "button"; node.title = title;
    if (words.length < 3) node.setAttribute("aria-label", title);
    node.addEventListener("click", go);
    return node;
  }
  // "‹ 2/3 ›" over versions of a message; `go` gets the id of the one wanted.
  function switcher(of, go, what) {
    const root = el("span", "versions");
    if (!of || of.ids.length < 2) return root;
    const at = of.ids.indexOf(of.id), step = (to) => () => go(of.ids[to]);
    const back = button("‹", `Previous version of this ${what}`, step(at - 1)), on = button("›", `Next version of this ${what}`, step(at + 1));
    back.disabled = at <= 0; on.disabled = at >= of.ids.length - 1;
    root.append(back, el("span", "", `${at + 1}/${of.ids.length}`), on);
    return root;
  }

  function buildQuestion(turn, act) {
    const root = el("div", "asked"), box = el("div", "bubble"), text = el("div", "words"), tools = el("div", "tools");
    box.append(text);
    root.append(box, tools);
    let open = false;
    const paint = () => {
      const { user } = turn.data, long = user.text.length > FOLD_AT;
      text.textContent = long && !open ? `${user.text.slice(0, FOLD_AT * 0.6)} … ${user.text.slice(-FOLD_AT * 0.3)}` : user.text;
      box.querySelector(".more")?.remove();
      if (long) {
        const more = button(open ? "Show less" : `Show all ${user.text.length.toLocaleString("en")} characters`, "", () => { open = !open; paint(); });
        more.className = "more";
        box.append(more);
      }
      const kept = user.id && !turn.running;
      tools.replaceChildren(switcher(user, (id) => act("branch", { message: id }), "question"));
      if (kept && !turn.data.fixed) tools.append(button("Edit", "Ask something else here; this version is kept", edit));
      if (kept && !turn.data.fixed) tools.append(button("Fork", "A new conversation with everything up to this answer", () => act("fork", { message: turn.data.answer.id ?? user.id })));
    };
    const edit = () => {
      const form = el("form", "editing"), field = el("textarea"), row = el("div", "row");
      field.value = turn.data.user.text; field.rows = Math.min(8, 1 + field.value.length / 70);
      field.setAttribute("aria-label", "Question");
      const close = () => { form.remove(); box.hidden = false; tools.hidden = false; };
      const send = () => { const words = field.value.trim(); close(); if (words) act("edit", { message: turn.data.user.id, text: words }); };
      const save = el("button", "main", "Send"); save.type = "submit";
      row.append(save, button("Cancel", "Leave the question as it was", close));
      form.append(field, row);
      form.addEventListener("submit", (e) => { e.preventDefault(); send(); });
      field.addEventListener("keydown", (e) => {
        if (e.key === "Enter" && !e.shiftKey && !e.isComposing) { e.preventDefault(); send(); }
        if (e.key === "Escape") { e.stopPropagation(); close(); }
      });
      box.hidden = true; tools.hidden = true;
      root.append(form);
      field.focus();
    };
    return { root, paint };
  }

  function buildSide(data) {
    const root = el("section", "side"), who = el("header", "who"), name = el("b"), hint = el("small");
    const said = window.rlkvChatText.create(data.name), state = el("p", "state-line"), figures = el("dl"), values = {};
    who.append(name, hint);
    state.setAttribute("role", "status");
    for (const [key, words, title] of FIGURES) {
      const cell = el("div"); values[key] = el("dd", "", "–"); values[key].dataset.figure = key;
      cell.title = title; cell.append(el("dt", "", words), values[key]); figures.append(cell);
    }
    const end = el("p", "ended"), verdict = el("span", "verdict");
    root.append(who, said.root, state, end, figures);
    return { root, name, hint, said, state, values, end, verdict, figures };
  }
  function paintWho(view, data) {
    view.root.className = `side s-${data.role}${view.root.classList.contains("shown") ? " shown" : ""}`;
    view.root.dataset.slot = data.slot; view.root.dataset.role = data.role;
    view.root.setAttribute("aria-label", data.name);
    view.name.textContent = data.name; view.hint.textContent = data.hint || "";
  }
  const shown = {
    bytes: (v) => format(v, "B"), formula: (v) => format(v, "B"), tokens: (v) => v.toLocaleString("en"),
    speed: (v) => v.toFixed(1), first: (v) => (v < 0.001 ? "<1 ms" : v < 1 ? `${(1000 * v).toFixed(0)} ms` : `${v.toFixed(2)} s`), prefix: (v) => v.toLocaleString("en"),
  };
  function paintFigures(view, now, index, secret) {
    for (const [key] of FIGURES) {
      const value = now[key], known = Number.isFinite(value) && !(key !== "prefix" && key !== "tokens" && !value);
      const cell = view.values[key];
      cell.textContent = known ? shown[key](value) : "–";
      cell.parentElement.hidden = (key === "prefix" && (index === 0 || value === undefined)) || (secret && key !== "tokens" && key !== "prefix");
      if (known) view.root.dataset[key] = value; else delete view.root.dataset[key];
    }
    for (const key of ["length", "seconds"]) if (Number.isFinite(now[key])) view.root.dataset[key] = now[key];
    view.root.dataset.stop = now.stop || "";
    view.end.textContent = now.stop ? STOPS[now.stop] || now.stop : "";
    if (now.stop && typeof now.right === "boolean") {
      view.verdict.className = `verdict ${now.right ? "right" : "wrong"}`;
      view.verdict.textContent = now.right ? "✓ right" : "✗ wrong";
      view.end.prepend(view.verdict, " ");
    }
  }

  // create(data, act) -> the turn: {root, data, sides: [{cols, upto, ...}], feed, update, seek, ...}
  function create(data, act) {
    const root = el("article", "turn"), rows = el("div", "sides"), tabs = el("div", "side-tabs"), same = el("p", "same"), foot = el("div", "foot");
    const turn = { root, data, sides: [], running: !data.answer?.id, playing: false, at: null };
    const question = buildQuestion(turn, act);
    turn.views = data.sides.map(buildSide);
    turn.sides = data.sides.map((side) => ({ ...side, cols: Object.fromEntries(COLUMNS.map((c) => [c, []])), upto: 0 }));
    turn.views.forEach((view) => rows.append(view.root));
    rows.dataset.count = data.sides.length;
    rows.dataset.shown = "0";
    tabs.setAttribute("role", "tablist");
    turn.views.forEach((_, i) => {
      const tab = button("", "", () => { rows.dataset.shown = i; paintTabs(); });
      tab.setAttribute("role", "tab");
      tabs.append(tab);
    });
    const paintTabs = () => turn.sides.forEach((side, i) => {
      tabs.children[i].textContent = side.name;
      tabs.children[i].className = `s-${side.role}`;
      tabs.children[i].setAttribute("aria-selected", String(+rows.dataset.shown === i));
      turn.views[i].root.classList.toggle("shown", +rows.dataset.shown === i);
    });
    root.append(question.root, tabs, rows, same, foot);

    const paintSame = () => {
      const parts = [], names = turn.sides.map((s) => s.name);
      turn.sides.forEach((side, i) => {
        if (!i || side.prefix === undefined) return;
        const line = el("span", "same-line"), diff = side.diff && (side.upto > side.diff.at || side.now?.stop) ? side.diff : null;
        const odds = (of, k) => `${names[0]}: ${format(of.p[0][k], "%")} · ${names[i]}: ${format(of.p[1][k], "%")}`;
        const many = names.length > 2 ? `${side.name}: ` : "";
        line.dataset.prefix = side.prefix;
        const count = side.prefix === 1 ? "1 token" : `${side.prefix.toLocaleString("en")} tokens`;
        line.append(many + (diff ? (side.prefix ? `identical for the first ${count}` : "different from the first token on") : `identical ${side.now?.stop ? "in all" : "so far,"} ${count}`));
        if (diff) {
          line.dataset.at = diff.at;
          line.append(diff.p ? (side.prefix ? ", then " : ": ") : side.prefix ? "; then they part." : ".");
          if (diff.p) diff.tokens.forEach((token, k) => {
            if (k) line.append(" against ");
            const chip = el("b", `chip s-${turn.sides[k ? i : 0].role}`, quoted(token));
            line.append(chip, ` (${odds(diff, k)})`);
          });
          const words = diff.p && diff.tokens.map((token, k) => `${quoted(token)} ${odds(diff, k)}`).join("\n");
          turn.views[i].said.mark(diff.at, "first-other", `first token that differs\n${words || ""}`.trim());
          turn.views[0].said.mark(diff.at, "first-other", `first token that differs from ${names[i]}\n${words || ""}`.trim());
        }
        parts.push(line);
      });
      same.replaceChildren(...parts);
    };
    const paintFoot = () => {
      const { answer, blind, user } = turn.data, parts = [];
      if (!turn.running && answer?.id) {
        parts.push(switcher(answer, (id) => act("branch", { message: id }), "answer"));
        if (!turn.data.fixed) parts.push(button("Regenerate", "Answer again with the settings as they are now; this answer is kept", () => act("again", { message: user.id })));
        parts.push(button("Replay", "Play it as it was written, without the model", () => act("replay", { turn })));
        if (turn.data.words) parts.push(el("span", "setup", turn.data.words));
      }
      if (blind && !turn.running && answer?.id) {
        const row = el("div", "vote");
        if (blind.open) {
          row.append(el("b", "", "Which answer is better?"),
            ...[["a", "A"], ["tie", "Neither"], ["b", "B"]].map(([choice, words]) => button(words, `Vote: ${words}`, () => act("vote", { message: answer.id, choice }))),
            button("Show without a vote", "The vote is not counted", () => act("vote", { message: answer.id, choice: "skip" })));
        } else row.append(el("span", "note", blind.words));
        parts.push(row);
      }
      foot.replaceChildren(...parts);
    };
    const paintSide = (i) => {
      const side = turn.sides[i], view = turn.views[i], now = side.now || {};
      paintFigures(view, { ...now, prefix: side.prefix }, i, turn.secret);
      view.said.live(!now.stop && side.upto > 0);
      view.state.textContent = side.upto || now.stop ? "" : turn.status || (now.reading ? `reading ${now.reading[0].toLocaleString("en")} of ${now.reading[1].toLocaleString("en")} tokens` : "");
    };

    Object.defineProperties(turn, Object.getOwnPropertyDescriptors({
      get secret() { return !!turn.data.blind?.open; },
      // New light facts: ids, versions, names, the vote. The tokens stay as they are.
      update(next) {
        turn.data = next;
        turn.running = !next.answer?.id;
        next.sides.forEach((side, i) => {
          Object.assign(turn.sides[i], side);
          if (side.now) turn.sides[i].now = side.now;
          paintWho(turn.views[i], side);
          paintSide(i);
        });
        root.dataset.answer = next.answer?.id ?? ""; root.dataset.user = next.user.id ?? "";
        question.paint(); paintFoot(); paintSame(); paintTabs();
      },
      // What one side has written since: columns from `delta.from` on, and its figures now.
      feed(i, delta) {
        const side = turn.sides[i], { cols } = side;
        if (delta.cols && delta.from === cols.t.length) for (const c of COLUMNS) if (delta.cols[c]) for (const v of delta.cols[c]) cols[c].push(v);
        for (const key of ["now", "opening", "read", "breaks", "prefix", "diff", "hint", "name"]) if (delta[key] !== undefined) side[key] = delta[key];
        if (delta.hint !== undefined || delta.name !== undefined) paintWho(turn.views[i], side);
        turn.showUpto(i, cols.t.length);
      },
      showUpto(i, n) {
        const side = turn.sides[i], { said } = turn.views[i];
        if (n < said.count) said.clear();
        said.push(side.cols, n, side.opening);
        side.upto = n;
        for (const cut of side.breaks || []) if (cut.at < n) said.mark(cut.at, "after-cut", cut.words);
        paintSide(i);
      },
      // A replay's state: what the figures were when `n` tokens were written.
      playAt(i, n) {
        const side = turn.sides[i], { cols } = side, end = side.final || side.now || {};
        if (n === side.upto && !side.playing) return;
        side.final ||= end;
        const all = n >= cols.t.length;
        side.playing = !all;
        side.now = all ? side.final : { tokens: n, bytes: cols.b[n - 1], formula: cols.f[n - 1], length: cols.l[n - 1], first: n ? end.first : undefined, stop: null };
        if (i) { side.wholePrefix ??= side.prefix; side.prefix = side.wholePrefix === undefined ? undefined : Math.min(n, turn.sides[0].upto, side.wholePrefix); }
        if (all && i && side.wholePrefix !== undefined) side.prefix = side.wholePrefix;
        if (n !== side.upto) turn.showUpto(i, n); else paintSide(i);
        paintSame();
      },
      settleSame: () => paintSame(),
      // The pulling has ended; a side that never got a reason was cut off.
      over() { turn.views.forEach((view) => view.said.live(false)); },
      settle() { paintSame(); paintFoot(); question.paint(); },
      say(words) { turn.status = words; turn.sides.forEach((_, i) => paintSide(i)); },
      get have() { return turn.sides.map((s) => s.cols.t.length); },
      get whole() { return turn.sides.every((s) => s.cols.t.length >= (s.now?.tokens ?? 0)); },
    }));
    turn.update(data);
    return turn;
  }

  window.rlkvChatTurn = { create };
})();
