// The transcript: the turns of the open conversation, the one that is being written, replays. It
// asks the server for what is new (`server.pull`) and for the tokens of kept turns (`server.columns`).
(() => {
  const { el } = window.rlkvDom;
  const PULL_MS = 45, WAIT_MS = 400, RETRIES = 6;
  const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
  let memory = null;
  const waiting = (place) => (place ? `Waiting for the model: ${place} before you` : "Waiting for the model");

  function mount(root, { trigger, server }) {
    // A class, since a `:has()` in the style sheet would be looked at with every token.
    document.documentElement.classList.add("chat-page");
    const pane = el("div", "talk-pane"), bar = el("div", "replay-bar"), blank = el("div", "talk-blank"), flow = el("div", "talk-flow");
    pane.tabIndex = -1;
    pane.append(blank, flow);
    bar.hidden = true;
    root.replaceChildren(pane, bar);
    const cache = new Map(); // by key: `r<run>` while it is written, `a<id>` once it is kept
    let turns = [], view = null, following = null, replay = null, frames = [];

    const paintMemory = () => memory?.paint(turns.map((t) => ({ sides: t.sides, secret: t.secret })), view?.model);
    const nearEnd = () => pane.scrollHeight - pane.scrollTop - pane.clientHeight < 90;
    const toEnd = () => { pane.scrollTop = pane.scrollHeight; };
    // A question of several lines takes room from the pane: what was at the end stays there.
    let atEnd = true;
    pane.addEventListener("scroll", () => { atEnd = nearEnd(); }, { passive: true });
    new ResizeObserver(() => { if (atEnd && turns.length) toEnd(); }).observe(pane);

    const act = (name, data) => {
      if (name === "replay") return startReplay([data.turn]);
      replay?.stop();
      trigger(name, { ...data, chat: view?.chat?.id ?? null });
    };
    function startReplay(some) {
      replay?.stop();
      const done = some.filter((t) => t.sides.some((s) => s.cols.t.length));
      if (!done.length) return;
      root.dataset.replay = "on";
      replay = window.rlkvChatReplay.play(bar, done, { paint: () => { if (nearEnd()) toEnd(); paintMemory(); }, ended: () => { replay = null; delete root.dataset.replay; } });
    }

    // The tokens of kept turns that are not here yet.
    async function fill(some) {
      const missing = some.filter((t) => !t.running && !t.whole && t.root.isConnected);
      if (!missing.length) return;
      const found = await server.columns({ key: view.key, chat: view.chat?.id ?? null, ids: missing.map((t) => t.data.answer.id) });
      for (const turn of missing) {
        const sides = found?.[turn.data.answer.id];
        if (sides) { sides.forEach((side, i) => turn.feed(i, { ...side, from: turn.have[i], cols: cut(side.cols, turn.have[i]) })); turn.settle(); }
      }
      paintMemory();
    }
    const cut = (cols, from) => (from ? Object.fromEntries(Object.entries(cols).map(([k, v]) => [k, v.slice(from)])) : cols);

    function paint(value) {
      if (!value) return;
      const sameChat = view && view.chat?.id === value.chat?.id, stick = !sameChat || nearEnd();
      const before = turns.length;
      // A reload opens the same conversation; what the page was opened with stays until there is one.
      const open = value.autoplay ? "" : value.chat?.id ?? "";
      if (open || view?.chat) window.rlkvAddress?.("chat", open);
      view = value;
      if (!sameChat && replay) replay.stop();
      root.dataset.chat = value.chat?.id ?? "";
      const next = value.turns.map((data) => {
        const key = data.answer?.id ? `a${data.answer.id}` : `r${data.run}`;
        let turn = cache.get(key);
        if (!turn && data.run && cache.has(`r${data.run}`)) turn = cache.get(`r${data.run}`);
        const fits = turn && turn.sides.length === data.sides.length && !(turn.secret && !data.blind?.open);
        if (!fits) turn = window.rlkvChatTurn.create(data, act);
        else turn.update(data);
        cache.set(key, turn);
        return turn;
      });
      turns = next;
      // Nodes that stay are not touched: a moved node loses its scroll place and focus.
      next.forEach((turn, i) => { if (flow.children[i] !== turn.root) flow.insertBefore(turn.root, flow.children[i] || null); });
      while (flow.children.length > next.length) flow.lastChild.remove();
      paintBlank(value);
      if (value.run && following !== value.run) follow(value.run, turns[turns.length - 1]);
      if (stick || turns.length > before) toEnd();
      // On a phone the page scrolls, not the transcript.
      if (value.run && turns.length > before && pane.scrollHeight <= pane.clientHeight + 1) turns[turns.length - 1].root.scrollIntoView({ block: "start" });
      paintMemory();
      fill(turns).then(() => {
        if (stick) toEnd();
        if (value.autoplay && value.autoplay !== root.dataset.played) { root.dataset.played = value.autoplay; startReplay(turns); }
      });
    }

    function paintBlank(value) {
      blank.hidden = value.turns.length > 0;
      if (blank.hidden) return;
      const cards = (value.recorded || []).map((one) => {
        const card = el("button", "record");
        card.type = "button"; card.dataset.key = one.key;
        card.append(el("b", "", one.title), el("span", "", one.words));
        card.addEventListener("click", () => trigger("recorded", { key: one.key }));
        return card;
      });
      const list = el("div", "records");
      list.append(...cards);
      blank.replaceChildren(el("p", "", "Ask below, and both sides answer here, one token each in turn."), ...(cards.length ? [el("p", "note", "Or watch a recorded conversation: it needs no model."), list] : []));
    }

    async function follow(token, turn) {
      following = token;
      let failures = 0;
      while (following === token && root.isConnected) {
        let got;
        // A server that dies while it answers gives nothing at all.
        try { got = await server.pull({ run: token, have: turn.have }); if (!got) throw Error(); failures = 0; } catch { if (++failures > RETRIES) break; await sleep(500); continue; }
        const began = performance.now(), stick = nearEnd();
        if (got.state === "gone") break;
        got.sides.forEach((side, i) => turn.feed(i, side));
        turn.say(got.state === "waiting" ? waiting(got.place) : got.state === "loading" ? "The model is being loaded" : "");
        root.dataset.state = got.state;
        if (got.sides.length) { turn.settleSame(); paintMemory(); if (stick) toEnd(); }
        frames.push(performance.now() - began);
        if (frames.length > 2000) frames = frames.slice(-1000);
        if (got.state === "done") break;
        await sleep(got.state === "waiting" || got.state === "loading" ? WAIT_MS : PULL_MS);
      }
      if (following === token) following = null;
      const stick = nearEnd();
      turn.over();
      turn.settle();
      if (stick) toEnd();
    }

    document.addEventListener("keydown", (e) => {
      if (e.key !== "Escape" || e.defaultPrevented || !root.isConnected) return;
      // Elsewhere the key closes a menu, a card or a dialogue.
      if (e.target !== document.body && !e.target.closest("#talk, #question, #send, #stop")) return;
      const stop = document.querySelector("#stop");
      const button = stop?.matches("button") ? stop : stop?.querySelector("button");
      if (button && !button.disabled) button.click();
    });
    if (matchMedia("(min-width: 761px)").matches) setTimeout(() => document.querySelector("#question textarea")?.focus({ preventScroll: true }), 200);
    root.rlkv = { get frames() { return frames; }, get turns() { return turns; }, get model() { return view?.model; } };
    return paint;
  }

  const mountMemory = (root) => { memory = window.rlkvChatMemory.mount(root); memory.paint([], {}); };

  window.rlkvChat = { mount, mountMemory };
})();
