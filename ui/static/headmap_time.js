// The slider under the head map: plays the gates of a training, or chooses the step that a
// change is counted from. All steps are in the browser, so nothing is asked while it plays.
(() => {
  const SECONDS = 6; // for a whole training
  const LEVELS = 65535;

  // {steps, gates: base64 of little-endian uint16 [steps, layers * heads], rewards} -> numbers.
  function decode(frames) {
    const bytes = Uint8Array.from(atob(frames.gates), (c) => c.charCodeAt(0));
    const view = new DataView(bytes.buffer), count = bytes.length / 2;
    const gates = new Float32Array(count);
    for (let i = 0; i < count; i++) gates[i] = view.getUint16(2 * i, true) / LEVELS;
    return { ...frames, gates, size: count / frames.steps.length };
  }

  const gateText = (v) => (v >= 0.995 ? "1" : v.toFixed(2).replace(/^0/, ""));

  // The gates of one step, with the heads that this cut would have kept then.
  function frameOf(map, k) {
    const { size, gates } = map.frames, kept = map.value.kept ? map.value.kept.flat().filter(Boolean).length : null;
    const now = gates.subarray(k * size, (k + 1) * size);
    const order = Array.from(now.keys()).sort((a, b) => now[b] - now[a] || a - b);
    const rank = new Int32Array(size);
    order.forEach((i, r) => (rank[i] = r));
    const shown = map.value.view === "rank" ? Float64Array.from(rank, (r) => 1 - r / Math.max(1, size - 1)) : Float64Array.from(now);
    const tied = kept && kept < size && now[order[kept - 1]] === now[order[kept]];
    return {
      shown, tied,
      kept: kept === null ? null : Float64Array.from(rank, (r) => (r < kept ? 1 : 0)),
      text: (i) => (map.value.view === "rank" ? `${rank[i] + 1}` : map.value.view === "kept" ? "" : gateText(now[i])),
      hover: (i) => `gate ${now[i].toFixed(3)} · rank ${rank[i] + 1} of ${size}`,
    };
  }

  window.rlkvHeadMapTime = (map) => {
    const { el } = window.rlkvDom;
    const play = el("button", "hm-play"), range = el("input"), say = el("output", "hm-say");
    play.type = "button";
    range.type = "range";
    range.min = 0;
    range.step = 1;
    map.time.append(play, range, say);
    let last = 0, playing = null, source = "", base = null;

    const stop = () => {
      if (playing) { cancelAnimationFrame(playing.frame); clearTimeout(playing.timer); }
      playing = null;
      label();
    };
    const label = () => {
      play.textContent = playing ? "❚❚" : "▶";
      play.setAttribute("aria-label", playing ? "Pause" : "Play the training");
    };
    const changing = () => map.value.view === "change";
    const words = (k) => {
      const { steps, rewards } = map.frames;
      if (changing()) return `change since step ${steps[Math.min(k, last - 1)]}`;
      if (k >= last) return `the mask as it is, after ${steps[last - 1]} steps`;
      const reward = rewards[k] === null ? "" : ` · reward ${rewards[k].toFixed(2)}`;
      return `step ${steps[k]}${reward}${map.frame?.tied ? " · equal gates at the cut" : ""}`;
    };
    const show = (k) => {
      range.value = k;
      const still = changing() || k >= last || map.value.editable;
      map.frame = still ? null : frameOf(map, k);
      if (map.frame) { map.shown = map.frame.shown; map.kept = map.frame.kept; }
      else {
        map.shown = Float64Array.from(map.value.values.flat());
        map.kept = map.value.kept ? Float64Array.from(map.value.kept.flat(), Number) : null;
      }
      say.textContent = words(k);
      range.setAttribute("aria-valuetext", say.textContent);
      map.svg.dataset.step = k >= last || changing() ? "" : map.frames.steps[k];
    };
    const go = (k) => { show(k); map.paint(); if (map.at !== null) map.showTip(map.at); };
    const start = () => {
      const slow = matchMedia("(prefers-reduced-motion: reduce)").matches;
      const from = Number(range.value) >= last ? 0 : Number(range.value), began = performance.now();
      playing = {};
      label();
      const step = () => {
        if (!playing || !map.root.isConnected) return;
        const elapsed = (performance.now() - began) / 1000;
        // Without motion: ten still pictures instead of a film.
        const share = slow ? Math.floor(elapsed / 0.6) / 10 : elapsed / SECONDS;
        const k = Math.min(last, Math.round(from + share * last));
        if (k !== Number(range.value)) go(k);
        if (k >= last) return stop();
        if (slow) playing.timer = setTimeout(step, 600);
        else playing.frame = requestAnimationFrame(step);
      };
      go(from);
      step();
    };
    play.addEventListener("click", () => (playing ? stop() : start()));
    range.addEventListener("input", () => {
      if (playing) stop();
      go(Number(range.value));
      if (!changing()) return;
      clearTimeout(base);
      base = setTimeout(() => map.emit("base", { step: map.frames.steps[Number(range.value)] }), 70);
    });

    // Called with every new value: which frames there are, and where the slider stands.
    map.setTime = () => {
      const { frames, view, editable } = map.value;
      if (frames !== "same") {
        const name = frames ? `${frames.key}` : "";
        map.frames = frames ? decode(frames) : null;
        if (name !== source) { source = name; if (playing) stop(); range.value = range.max = map.frames ? map.frames.steps.length : 0; }
      }
      const shown = map.frames && ["gate", "rank", "kept", "change"].includes(view);
      map.time.hidden = !shown;
      if (!shown || editable) { if (playing) stop(); map.frame = null; }
      if (!map.frames) { map.frame = null; last = 0; return; }
      last = map.frames.steps.length;
      const was = Number(range.max);
      range.max = changing() ? last - 1 : last;
      range.disabled = play.disabled = Boolean(editable);
      play.hidden = changing();
      range.setAttribute("aria-label", changing() ? "Step to count the change from" : "Step of the training");
      let k = Number(range.value);
      if (changing()) k = Math.max(0, map.frames.steps.indexOf(map.value.base));
      else if (!shown || editable || was !== Number(range.max)) k = last;
      show(k);
    };
    label();
  };
})();
