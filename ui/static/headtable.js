// All heads in one table: sort by any column, filter by any number, open a head. It knows the plain
// values that components/head_table.py makes, and nothing of Gradio or of models.
(() => {
  const { el } = window.rlkvDom;
  const OPERATORS = {
    ">": (a, b) => a > b, ">=": (a, b) => a >= b, "<": (a, b) => a < b, "<=": (a, b) => a <= b,
    "=": (a, b) => a === b,
  };

  // "> 0.5", "0.1-0.3", "7" (at least 7; ranks: at most) -> a test of numbers, null if unreadable.
  function condition(text, column) {
    const words = text.replace(/\s+/g, "").replace("≥", ">=").replace("≤", "<=");
    if (!words) return () => true;
    const number = "(-?\\d*\\.?\\d+(?:e-?\\d+)?)";
    const compared = words.match(new RegExp(`^(>=|<=|>|<|=)?${number}$`, "i"));
    if (compared) {
      const test = OPERATORS[compared[1] || (column.rank ? "<=" : ">=")];
      return (value) => test(value, Number(compared[2]));
    }
    const range = words.match(new RegExp(`^${number}(?:-|\\.\\.|–)${number}$`, "i"));
    return range ? (value) => value >= Number(range[1]) && value <= Number(range[2]) : null;
  }

  const shown = (value, column) =>
    value === null ? "" : column.rank ? String(value) : Math.abs(value) >= 0.0995 || value === 0
      ? value.toFixed(2) : value.toPrecision(2);

  function mount(root) {
    let value = null, sorted = { at: null, down: true }, filters = [], search = "", kept = "all";
    const count = el("p", "count"); count.setAttribute("aria-live", "polite");
    const find = el("input", "find");
    Object.assign(find, { type: "search", placeholder: "Head, such as 2. or 2.5" });
    find.setAttribute("aria-label", "Find heads by name");
    const states = el("div", "states");
    states.setAttribute("role", "group");
    states.setAttribute("aria-label", "Which heads");
    const frame = el("div", "frame"); frame.tabIndex = 0;
    frame.setAttribute("aria-label", "Table of heads, scrolls sideways");
    const bar = el("div", "bar"); bar.append(find, states, count);
    root.replaceChildren(bar, frame);
    for (const [key, words] of [["all", "All"], ["kept", "Kept"], ["cut", "Compressed"]]) {
      const button = el("button", "", words); button.type = "button";
      button.dataset.state = key;
      button.addEventListener("click", () => { kept = key; fill(); });
      states.append(button);
    }
    find.addEventListener("input", () => { search = find.value.trim(); fill(); });

    let body = null, heads = [];
    function build() {
      const table = el("table"), head = el("thead"), top = el("tr"), under = el("tr", "filters");
      heads = ["Head", "State", ...value.columns.map((c) => c.title)].map((words, i) => {
        const cell = el("th"), column = value.columns[i - 2];
        cell.scope = "col";
        const button = el("button", "", words); button.type = "button";
        if (column) { button.title = column.what; cell.className = "number"; }
        button.addEventListener("click", () => {
          sorted = { at: i, down: sorted.at === i ? !sorted.down : !(column?.rank || i < 2) };
          fill();
        });
        cell.append(button); top.append(cell);
        const filter = el("td");
        if (column) filter.append(field(column, i - 2));
        under.append(filter);
        return cell;
      });
      head.append(top, under);
      body = el("tbody");
      table.append(head, body);
      frame.replaceChildren(table);
    }

    function field(column, i) {
      const input = el("input");
      input.type = "text"; input.placeholder = column.rank ? "≤" : "≥";
      input.setAttribute("aria-label", `Filter ${column.title}, such as > 0.5 or 0.1-0.3`);
      input.addEventListener("input", () => {
        const test = condition(input.value, column);
        input.classList.toggle("wrong", test === null);
        input.setAttribute("aria-invalid", String(test === null));
        filters[i] = test ?? undefined;
        fill();
      });
      return input;
    }

    const chosen = () => value.rows.filter((row) =>
      (kept === "all" || row.kept === (kept === "kept")) && row.head.startsWith(search) &&
      row.values.every((v, i) => !filters[i] || filters[i](v)));
    const order = (row) => row.head.split(".").reduce((sum, n) => sum * 10000 + Number(n), 0);
    function inOrder(rows) {
      if (sorted.at === null) return rows;
      const of = (row) => sorted.at === 0 ? order(row) : sorted.at === 1 ? Number(row.kept) : row.values[sorted.at - 2];
      return [...rows].sort((a, b) => (of(a) - of(b)) * (sorted.down ? -1 : 1) || order(a) - order(b));
    }

    function line(row, lows, highs) {
      const tr = el("tr"), name = el("th"), link = el("a", "", row.head), state = el("td");
      name.scope = "row"; link.href = row.href; name.append(link);
      state.append(el("span", `kind ${row.kept ? "kept" : "cut"}`, row.kept ? "kept" : "compressed"));
      tr.append(name, state);
      row.values.forEach((v, i) => {
        const cell = el("td", "number"), part = (v - lows[i]) / (highs[i] - lows[i] || 1);
        const fill = el("i"); fill.style.width = `${100 * (value.columns[i].rank ? 1 - part : part)}%`;
        cell.append(el("span", "", shown(v, value.columns[i])), fill);
        tr.append(cell);
      });
      tr.addEventListener("click", (event) => { if (!event.target.closest("a")) location.href = row.href; });
      return tr;
    }

    function fill() {
      const rows = inOrder(chosen()), of = (f) => value.columns.map((_, i) => f(...value.rows.map((r) => r.values[i])));
      const lows = of(Math.min), highs = of(Math.max);
      body.replaceChildren(...rows.map((row) => line(row, lows, highs)));
      count.textContent = `${rows.length} of ${value.rows.length} heads`;
      for (const button of states.children) button.setAttribute("aria-pressed", String(button.dataset.state === kept));
      heads.forEach((cell, i) => cell.setAttribute("aria-sort",
        i !== sorted.at ? "none" : sorted.down ? "descending" : "ascending"));
    }

    return (next) => {
      root.hidden = !next;
      if (!next) return;
      const same = value && next.columns.length === value.columns.length;
      value = next;
      if (!same) build();
      fill();
    };
  }

  window.rlkvHeadTable = { mount };
})();
