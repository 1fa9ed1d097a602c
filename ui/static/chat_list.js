// The kept conversations: open, rename, delete, search. Texts go in as text.
(() => {
  const { el } = window.rlkvDom;
  const when = (seconds) => {
    const date = new Date(seconds * 1000), today = new Date().toDateString() === date.toDateString();
    return today ? date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }) : date.toLocaleDateString([], { day: "numeric", month: "short" });
  };
  const button = (words, title, go) => {
    const node = el("button", "", words);
    node.type = "button"; node.title = title; node.setAttribute("aria-label", title);
    node.addEventListener("click", go);
    return node;
  };

  // mount(root, {trigger}) -> paint({chats: [{id, title, model, at, turns, note}], open})
  function mount(root, { trigger }) {
    const list = el("ul", "chats"), find = el("input", "find");
    find.type = "search"; find.placeholder = "Search titles"; find.setAttribute("aria-label", "Search titles");
    root.replaceChildren(find, list);
    let value = { chats: [], open: null };
    const row = (chat) => {
      const item = el("li"), main = el("button", "open"), tools = el("span", "chat-tools");
      main.type = "button"; main.dataset.id = item.dataset.chat = chat.id;
      main.append(el("b", "", chat.title || "Untitled"), el("small", "", [chat.model, when(chat.at), chat.note].filter(Boolean).join(" · ")));
      if (chat.id === value.open) main.setAttribute("aria-current", "true");
      main.addEventListener("click", () => trigger("open", { chat: chat.id }));
      const rename = () => {
        const form = el("form", "rename"), field = el("input");
        field.value = chat.title; field.maxLength = 120; field.setAttribute("aria-label", "New name");
        form.append(field);
        let over = false; // taking the field away blurs it, which would end it once more
        const end = (save) => { if (over) return; over = true; form.replaceWith(main, tools); if (save && field.value.trim() && field.value.trim() !== chat.title) trigger("rename", { chat: chat.id, title: field.value.trim() }); };
        form.addEventListener("submit", (e) => { e.preventDefault(); end(true); });
        field.addEventListener("keydown", (e) => { if (e.key === "Escape") { e.preventDefault(); end(false); } });
        field.addEventListener("blur", () => end(true));
        item.replaceChildren(form);
        field.focus(); field.select();
      };
      const remove = () => {
        const sure = el("span", "sure", "Delete it? ");
        sure.append(button("Delete", `Delete ${chat.title}`, () => trigger("remove", { chat: chat.id })), button("Keep", "Keep it", () => item.replaceChildren(main, tools)));
        item.replaceChildren(sure);
        sure.querySelector("button").focus();
      };
      tools.append(button("✎", `Rename ${chat.title}`, rename), button("×", `Delete ${chat.title}`, remove));
      item.append(main, tools);
      return item;
    };
    const paint = () => {
      const words = find.value.trim().toLowerCase();
      const shown = value.chats.filter((c) => !words || c.title.toLowerCase().includes(words));
      list.replaceChildren(...shown.map(row));
      if (!shown.length) list.append(el("li", "note", value.chats.length ? "No title holds these words." : "Conversations are kept here."));
      find.hidden = value.chats.length < 6;
    };
    find.addEventListener("input", paint);
    return (next) => { if (next) { value = next; paint(); } };
  }

  window.rlkvChatList = { mount };
})();
