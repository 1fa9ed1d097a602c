// The tour for newcomers. On a first visit it only invites; it starts when asked, or by ?tour=1.
// It knows the stops that components/tour.py hands over, and nothing of what they point at.
(() => {
  const { el, place } = window.rlkvDom;
  const SEEN = "rlkv-tour";
  const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
  const remembered = () => { try { return localStorage.getItem(SEEN); } catch { return "blocked"; } };
  const remember = () => { try { localStorage.setItem(SEEN, "seen"); } catch { /* private mode: asks again */ } };
  const visible = (node) => node.getBoundingClientRect().height > 8 && getComputedStyle(node).visibility !== "hidden";
  const target = (stop) => [...document.querySelectorAll(stop.selector)].find(visible) || null;

  // Inside Gradio's frame: our rules for phones and for less motion hold only there.
  const home = () => document.querySelector(".gradio-container .contain") || document.body;

  let tour = null, open = null;

  function bubble() {
    const root = el("div", "tour"), ring = el("div", "tour-ring"), card = el("div", "tour-card");
    const title = el("h2"), words = el("p"), row = el("div", "tour-row"), count = el("small");
    const skip = el("button", "", "Skip"), back = el("button", "", "Back"), next = el("button", "main", "Next");
    for (const button of [skip, back, next]) button.type = "button";
    row.append(count, skip, back, next);
    card.append(title, words, row);
    card.setAttribute("role", "dialog"); card.setAttribute("aria-modal", "false");
    title.id = "tour-title"; words.id = "tour-words"; title.tabIndex = -1;
    card.setAttribute("aria-labelledby", title.id); card.setAttribute("aria-describedby", words.id);
    root.append(ring, card);
    home().append(root);
    return { root, ring, card, title, words, count, skip, back, next };
  }

  function start() {
    dismiss();
    if (open || !tour) return;
    const stops = tour.stops.filter(target);
    if (!stops.length) return;
    const before = document.activeElement, view = bubble();
    let at = 0;
    // Every frame, because pages here are live: what grows above moves the thing without any event.
    let drawn = "", frame = 0;
    const follow = () => {
      frame = requestAnimationFrame(follow);
      const node = target(stops[at]);
      if (!node) return;
      const r = node.getBoundingClientRect(), pad = 6, high = window.innerHeight;
      const now = [at, r.left, r.top, r.width, r.height, high, window.innerWidth, view.card.offsetHeight].join();
      if (now === drawn) return;
      drawn = now;
      Object.assign(view.ring.style, { left: `${r.left - pad}px`, top: `${r.top - pad}px`, width: `${r.width + 2 * pad}px`, height: `${r.height + 2 * pad}px` });
      const shown = { left: r.left, width: r.width, top: Math.max(r.top, 0), bottom: Math.min(r.bottom, high - view.card.offsetHeight - 24) };
      place(view.card, r.height > high * 0.6 ? shown : r, 16);
    };
    const show = (i) => {
      at = i;
      const stop = stops[at], last = at === stops.length - 1;
      view.title.textContent = stop.title;
      view.words.textContent = stop.words;
      view.count.textContent = `${at + 1} of ${stops.length}`;
      view.back.disabled = at === 0;
      view.next.textContent = last ? tour.onward?.label || "Done" : "Next";
      view.skip.hidden = last && !tour.onward;
      target(stop)?.scrollIntoView({ block: "center", behavior: calm() ? "auto" : "smooth" });
      view.title.focus({ preventScroll: true });
    };
    const close = () => {
      remember();
      cancelAnimationFrame(frame);
      document.removeEventListener("keydown", keys, true);
      view.root.remove();
      open = null;
      if (before?.isConnected) before.focus({ preventScroll: true });
    };
    const forward = () => {
      if (at < stops.length - 1) return show(at + 1);
      const { onward } = tour;
      close();
      if (onward) location.href = onward.href;
    };
    const keys = (e) => {
      if (e.key === "Escape") close();
      // Keys are the page's while it is used; a page that is still being drawn can lose the focus.
      else if (document.activeElement !== document.body && !view.card.contains(document.activeElement)) return;
      else if (e.key === "ArrowRight") forward();
      else if (e.key === "ArrowLeft" && at) show(at - 1);
      else return;
      e.preventDefault(); e.stopPropagation();
    };
    view.skip.addEventListener("click", close);
    view.back.addEventListener("click", () => at && show(at - 1));
    view.next.addEventListener("click", forward);
    document.addEventListener("keydown", keys, true);
    open = { close };
    show(0);
    follow();
  }

  let card = null;
  const dismiss = () => { card?.remove(); card = null; };
  function invite() {
    card = el("aside", "tour-invite");
    const go = el("button", "main", "Take the tour"), no = el("button", "", "No, thanks");
    card.setAttribute("aria-label", "A short tour");
    go.type = no.type = "button";
    go.addEventListener("click", start);
    no.addEventListener("click", () => { remember(); dismiss(); });
    card.append(el("span", "", "New here?"), go, no);
    home().append(card);
  }

  // Calls back once all stops are on the page, or after three seconds with those that are.
  function whenDrawn(call, left = 30) {
    if (!left || tour.stops.every(target)) return call();
    setTimeout(() => whenDrawn(call, left - 1), 100);
  }

  // Called by each page that has a tour, with {page, stops, onward}.
  function offer(value) {
    tour = value;
    const asked = new URL(location.href).searchParams.get("tour");
    if (asked === "1") {
      window.rlkvAddress?.("tour", "");
      return whenDrawn(start);
    }
    if (!navigator.webdriver && !remembered()) setTimeout(() => { if (!open && !card) invite(); }, 1500);
  }

  window.rlkvTour = { offer, start };
})();
