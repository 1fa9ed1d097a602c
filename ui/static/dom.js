// What our widgets share: making nodes, writing numbers, pointing at things. Text goes in as text.
(() => {
  const NS = "http://www.w3.org/2000/svg";
  const el = (tag, cls, text) => {
    const node = document.createElement(tag);
    if (cls) node.className = cls;
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const svg = (tag, attributes = {}, text) => {
    const node = document.createElementNS(NS, tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    return node;
  };

  const trim = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
  const bytes = (n) => {
    let k = 0;
    while (Math.abs(n) >= 1023.5 && k < 4) { n /= 1024; k++; }
    return `${trim(n.toPrecision(n >= 100 ? 4 : 3)).replace(/e.*/, "")} ${["B", "KiB", "MiB", "GiB", "TiB"][k]}`;
  };
  // A number with its unit: "%" takes a share of 1, "B" takes bytes, "" or a word takes any number.
  const format = (v, unit = "") => {
    if (v === null || v === undefined || !Number.isFinite(v)) return "–";
    if (unit === "%") {
      const p = 100 * v;
      return `${trim(Math.abs(p) >= 9.95 || p === 0 ? p.toFixed(0) : Math.abs(p) >= 0.1 ? p.toFixed(1) : p.toPrecision(1))} %`;
    }
    if (unit === "B") return bytes(v);
    const size = Math.abs(v);
    const text = size >= 1e5 || (size < 1e-3 && size > 0) ? v.toExponential(1)
      : Number.isInteger(v) ? v.toLocaleString("en") : trim(v.toPrecision(3));
    return unit ? `${text} ${unit}` : text;
  };

  // A floating card beside an element, inside the window whatever its size.
  const place = (card, rect, gap = 8) => {
    card.style.left = "0px"; card.style.top = "0px";
    const box = card.getBoundingClientRect(), edge = 8;
    const wide = document.documentElement.clientWidth, high = window.innerHeight;
    const x = Math.min(Math.max(edge, rect.left + rect.width / 2 - box.width / 2), wide - box.width - edge);
    const below = rect.bottom + gap;
    const y = below + box.height + edge <= high ? below : Math.max(edge, rect.top - gap - box.height);
    card.style.left = `${Math.max(edge, x)}px`; card.style.top = `${y}px`;
  };

  // For charts of bytes over tokens: a y axis in round binary numbers: 3 to 4 lines.
  const niceStep = (top) => {
    const unit = 1024 ** Math.floor(Math.log(Math.max(top, 1)) / Math.log(1024));
    let step = 1;
    const grows = [2, 2.5, 2];
    for (let i = 0; top / unit / step > 4; i = (i + 1) % 3) step *= grows[i];
    return step * unit;
  };
  const niceTop = (x) => {
    const p = 10 ** Math.floor(Math.log10(Math.max(x, 10)));
    return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((m) => m * p).find((m) => m >= x);
  };

  window.rlkvDom = { el, svg, format, place, niceStep, niceTop };
})();
