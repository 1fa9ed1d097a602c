// Puts the definition of a word (ui/glossary.py) beside the word when it opens. Opening, closing
// by Escape and by a click elsewhere, and the focus are the browser's own popover.
(() => {
  document.addEventListener("toggle", (event) => {
    const card = event.target;
    if (event.newState !== "open" || !card.classList?.contains("term-card")) return;
    const word = document.querySelector(`[popovertarget="${CSS.escape(card.id)}"]`);
    if (word) window.rlkvDom.place(card, word.getClientRects()[0], 6);
  }, true);
  // A definition stays with its word only while the page stands still.
  addEventListener("scroll", () => document.querySelector(".term-card:popover-open")?.hidePopover(), { capture: true, passive: true });
})();
