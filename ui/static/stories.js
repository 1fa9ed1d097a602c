// Stories: steps of words beside the app's own widgets, with Back, Next and the arrow keys, and the
// place in the address. It knows the plain values that ui/stories makes; words are HTML of ours.
(() => {
  const { el } = window.rlkvDom;

  // How each kind of widget is put into a box.
  const KINDS = {
    chart: (box, value) => window.rlkvCharts.mount(box)(value),
    tokens: (box, value) => window.rlkvTokens.mount(box)(value),
    map: (box, value) => {
      const title = el("b", "map-title", value.title || value.name), root = el("div", "headmap");
      box.append(title, root);
      window.rlkvHeadMap.mount(root)(value);
    },
    race: (box, value) => {
      const top = el("div", "race-top"), again = el("button", "", "Play again");
      again.type = "button";
      top.append(el("span", "q", value.prompt), again);
      box.append(top, el("div", "race"));
      window.rlkvRace.play(box, value);
    },
  };

  function build(root, stories) {
    const tabs = el("nav", "story-tabs"), card = el("section", "card story"), text = el("div", "story-text");
    const title = el("h2"), words = el("div", "story-words"), stage = el("div", "story-stage");
    const row = el("div", "story-row"), back = el("button", "", "Back"), dots = el("ol", "story-dots"), next = el("button", "main");
    tabs.setAttribute("aria-label", "Stories");
    card.setAttribute("aria-label", "Story");
    title.tabIndex = -1;
    back.type = next.type = "button";
    const links = stories.map((story) => {
      const link = el("button");
      link.type = "button";
      link.append(el("b", "", story.title), el("span", "", story.blurb));
      tabs.append(link);
      return link;
    });
    row.append(back, dots, next);
    text.append(title, words, row);
    card.append(text, stage);
    root.replaceChildren(tabs, card);
    return { links, card, title, words, stage, back, dots, next };
  }

  function mount(root, { stories }) {
    const view = build(root, stories);
    const here = new URL(location.href).searchParams;
    let at = Math.max(0, stories.findIndex((s) => s.key === here.get("story"))), step = 0;

    const show = (story, wanted, focus) => {
      at = story;
      const { steps, key } = stories[at];
      step = Math.max(0, Math.min(steps.length - 1, wanted));
      const now = steps[step], last = step === steps.length - 1;
      view.links.forEach((link, i) => (i === at ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current")));
      view.title.textContent = now.title;
      view.words.innerHTML = now.words.map((words) => `<p>${words}</p>`).join("");
      view.stage.replaceChildren(...now.widgets.map(() => el("div", "story-widget")));
      view.stage.dataset.kinds = now.widgets.map((w) => w.kind).join(" ");
      now.widgets.forEach((w, i) => KINDS[w.kind](view.stage.children[i], w.value));
      view.dots.replaceChildren(...steps.map((one, i) => {
        const item = el("li"), dot = el("button");
        dot.type = "button"; dot.title = one.title;
        dot.setAttribute("aria-label", `Step ${i + 1} of ${steps.length}: ${one.title}`);
        if (i === step) dot.setAttribute("aria-current", "step");
        dot.addEventListener("click", () => show(at, i, true));
        item.append(dot);
        return item;
      }));
      view.back.disabled = step === 0;
      view.next.textContent = !last ? "Next" : at < stories.length - 1 ? "Next story" : "First story";
      window.rlkvAddress("story", key);
      window.rlkvAddress("step", String(step + 1));
      if (!focus) return;
      view.title.focus({ preventScroll: true });
      if (view.card.getBoundingClientRect().top < 0) view.card.scrollIntoView({ block: "start" });
    };
    const forward = () => (step < stories[at].steps.length - 1 ? show(at, step + 1, true) : show((at + 1) % stories.length, 0, true));
    view.next.addEventListener("click", forward);
    view.back.addEventListener("click", () => show(at, step - 1, true));
    view.links.forEach((link, i) => link.addEventListener("click", () => show(i, 0, true)));
    // The widgets have first claim to the arrow keys: a key they used is prevented.
    root.addEventListener("keydown", (e) => {
      if (e.defaultPrevented || e.altKey || e.ctrlKey || e.metaKey || e.target.closest(".story-stage, .term-card")) return;
      if (e.key === "ArrowRight") forward();
      else if (e.key === "ArrowLeft" && step) show(at, step - 1, true);
      else return;
      e.preventDefault();
    });
    show(at, (Number.parseInt(here.get("step"), 10) || 1) - 1, false);
  }

  window.rlkvStories = { mount };
})();
