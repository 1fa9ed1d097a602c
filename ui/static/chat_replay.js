// Plays turns as they were written: from their columns alone, with pause, seek and two speeds.
// It needs no model and no server.
(() => {
  const { el } = window.rlkvDom;
  const PACE = 0.04; // seconds a token at reading pace
  const clock = (s) => (s < 60 ? `${s.toFixed(1)} s` : `${Math.floor(s / 60)} min ${String(Math.floor(s % 60)).padStart(2, "0")} s`);

  // Seconds after which each token of a side is there.
  const times = (side, pace) => (pace || !side.cols.at.length ? side.cols.t.map((_, i) => (i + 1) * PACE) : side.cols.at);

  // play(turns, {paint, ended}) -> {stop}; shows its bar in `bar` until it is closed.
  function play(bar, turns, { paint, ended }) {
    const go = el("button", "", "Pause"), range = el("input"), now = el("output"), speed = el("select"), close = el("button", "", "Close");
    go.type = close.type = "button";
    range.type = "range"; range.min = "0"; range.step = "any"; range.setAttribute("aria-label", "Time of the replay");
    speed.setAttribute("aria-label", "Speed of the replay");
    for (const [value, words] of [["pace", "Reading pace"], ["real", "Recorded speed"]]) {
      const option = el("option", "", words);
      option.value = value;
      speed.append(option);
    }
    bar.replaceChildren(el("b", "", "Replay"), go, range, now, speed, close);
    bar.hidden = false;
    let at = 0, last = null, playing = true, frame = 0, over = false;
    let spans = [], total = 0;
    const measure = () => {
      const pace = speed.value === "pace";
      total = 0;
      spans = turns.map((turn) => {
        const sides = turn.sides.map((side) => times(side, pace)), begin = total;
        total += Math.max(0.01, ...sides.map((t) => t[t.length - 1] || 0)) + 0.4;
        return { turn, sides, begin };
      });
      range.max = String(total);
    };
    const show = () => {
      for (const { turn, sides, begin } of spans) {
        const since = at - begin;
        turn.root.classList.toggle("not-yet", since < 0);
        sides.forEach((t, i) => {
          let n = turn.sides[i].upto;
          if (n && (t[n - 1] ?? Infinity) > since) n = 0; // sought back
          while (n < t.length && t[n] <= since) n++;
          turn.playAt(i, n);
        });
      }
      range.value = String(at);
      now.textContent = `${clock(Math.min(at, total))} of ${clock(total)}`;
      paint();
    };
    const tick = (time) => {
      if (over || !bar.isConnected) return;
      if (playing) {
        at = Math.min(total, at + (last === null ? 0 : Math.min(0.2, (time - last) / 1000)));
        show();
        if (at >= total) { playing = false; go.textContent = "Play again"; }
      }
      last = time;
      frame = requestAnimationFrame(tick);
    };
    const stop = () => {
      if (over) return;
      over = true;
      cancelAnimationFrame(frame);
      bar.hidden = true; bar.replaceChildren();
      for (const turn of turns) { turn.root.classList.remove("not-yet"); turn.sides.forEach((side, i) => turn.playAt(i, side.cols.t.length)); turn.settle(); }
      paint();
      ended();
    };
    go.addEventListener("click", () => {
      if (at >= total) at = 0;
      playing = !playing;
      go.textContent = playing ? "Pause" : "Play";
    });
    range.addEventListener("input", () => { at = Number(range.value); playing = false; go.textContent = "Play"; show(); });
    speed.addEventListener("change", () => { const share = total ? at / total : 0; measure(); at = share * total; show(); });
    close.addEventListener("click", stop);
    measure();
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) { playing = false; at = total; go.textContent = "Play again"; }
    show();
    frame = requestAnimationFrame(tick);
    return { stop };
  }

  window.rlkvChatReplay = { play };
})();
