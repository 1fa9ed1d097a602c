// The export menu of a picture: PNG, SVG, a page of its own, and its numbers as CSV. Everything
// is made in the browser, so nothing leaves it. It knows SVG elements and rows, not what they show.
(() => {
  const { el, svg: node } = window.rlkvDom;
  // What a picture looks like, with the values that need not be written down.
  const PROPERTIES = {
    fill: "rgb(0, 0, 0)", "fill-opacity": "1", stroke: "none", "stroke-width": "1px", "stroke-opacity": "1", "stroke-dasharray": "none",
    "stroke-linecap": "butt", "stroke-linejoin": "miter", opacity: "1", "text-anchor": "start", "dominant-baseline": "auto",
    "paint-order": "normal", visibility: "visible", display: "inline",
  };
  const FONT = ["font-family", "font-size", "font-weight", "font-style", "letter-spacing", "white-space"];
  const HEAD = 30; // room for the title over an exported picture
  const read = (x) => (typeof x === "function" ? x() : x);
  const safeName = (name) => String(name || "").normalize("NFKD").replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[-.]+|[-.]+$/g, "").slice(0, 80) || "picture";

  // color(srgb .1 .2 .3 / .4), which few programs outside a browser read, as rgba().
  const plain = (value) => value.replace(/color\(srgb ([\d.e-]+) ([\d.e-]+) ([\d.e-]+)(?: \/ ([\d.e-]+))?\)/g,
    (_, r, g, b, a) => `rgba(${[r, g, b].map((x) => Math.round(255 * x)).join(", ")}, ${a ?? 1})`);

  // The page's colour behind an element.
  function background(element) {
    for (let at = element; at; at = at.parentElement) {
      const colour = plain(getComputedStyle(at).backgroundColor);
      if (colour && !/^rgba\(.*, 0\)$|^transparent$/.test(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  }

  // A copy of an element of a picture that looks the same anywhere: its computed style inside.
  function styled(element, target = element.cloneNode(true)) {
    const style = getComputedStyle(element);
    const kept = Object.keys(PROPERTIES).filter((p) => style.getPropertyValue(p) !== PROPERTIES[p]);
    if (element.tagName === "text" || element.tagName === "tspan") kept.push(...FONT);
    target.setAttribute("style", kept.map((p) => `${p}:${plain(style.getPropertyValue(p))}`).join(";"));
    for (const name of ["class", "tabindex", "id"]) target.removeAttribute(name);
    return target;
  }

  // The same of an element with all that is in it.
  function styledTree(root) {
    const copy = root.cloneNode(true), to = [copy, ...copy.querySelectorAll("*")];
    [root, ...root.querySelectorAll("*")].forEach((element, i) => {
      const target = styled(element, to[i]), words = target.getAttribute("data-title");
      if (words) { target.removeAttribute("data-title"); target.prepend(node("title", {}, words)); }
    });
    return copy;
  }

  // A legend that stands beside a picture on the page, as lines of marks with their words.
  function drawKeys(keys, width, style) {
    const group = node("g"), line = 22;
    let x = 0, row = 0;
    for (const { mark, size = 18, text: words, width: room } of keys) {
      if (x && x + room > width) { x = 0; row++; }
      const half = mark ? size / 2 : 0, key = node("g", { transform: `translate(${x + half} ${row * line + line / 2})` });
      if (mark) {
        const sign = styledTree(mark);
        for (const at of ["cx", "cy"]) if (sign.hasAttribute(at)) sign.setAttribute(at, 0); // a dot of the picture
        key.append(sign);
      }
      key.append(node("text", { x: mark ? half + 5 : 0, y: 4.5, style }, words));
      group.append(key);
      x += Math.round(1.08 * room) + 8; // fonts elsewhere can be wider
    }
    return { group, height: keys.length ? (row + 1) * line + 4 : 0 };
  }

  // A copy of `picture` that looks the same anywhere, its title and legend above it.
  function standalone(picture, title, paper, keys) {
    const copy = styledTree(picture);
    const rect = picture.getBoundingClientRect(), view = picture.viewBox?.baseVal, font = getComputedStyle(picture).fontFamily;
    const ink = plain(getComputedStyle(picture.parentElement || picture).color);
    const width = view?.width || rect.width, height = view?.height || rect.height, top = title ? HEAD : 0, pad = 12;
    const legend = drawKeys(keys, width, `fill:${ink};font:400 13px ${font}`), extra = top + legend.height;
    const box = [(view?.x || 0) - pad, (view?.y || 0) - pad - extra, width + 2 * pad, height + 2 * pad + extra];
    copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    copy.setAttribute("viewBox", box.join(" "));
    copy.setAttribute("width", box[2]); copy.setAttribute("height", box[3]);
    const ground = node("rect", { x: box[0], y: box[1], width: box[2], height: box[3], fill: paper });
    legend.group.setAttribute("transform", `translate(${box[0] + pad} ${box[1] + pad + top})`);
    if (keys.length) copy.prepend(legend.group);
    if (title) copy.prepend(node("text", { x: box[0] + pad, y: box[1] + pad + 14, style: `fill:${ink};font:700 15px ${font}` }, title));
    copy.prepend(ground);
    return { copy, width: box[2], height: box[3] };
  }

  const text = (picture) => new XMLSerializer().serializeToString(picture);

  async function png(made) {
    const image = new Image();
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text(made.copy))}`;
    await image.decode();
    const canvas = el("canvas");
    canvas.width = Math.ceil(2 * made.width); canvas.height = Math.ceil(2 * made.height);
    const context = canvas.getContext("2d");
    context.scale(2, 2);
    context.drawImage(image, 0, 0, made.width, made.height);
    return new Promise((done) => canvas.toBlob(done, "image/png"));
  }

  // One CSV cell: quoted where needed, and never a formula for the program that opens it.
  const cell = (value) => {
    if (typeof value === "number") return Number.isFinite(value) ? String(value) : "";
    let words = value === null || value === undefined ? "" : String(value);
    if (/^[=+\-@\t\r]/.test(words)) words = `'${words}`;
    return /[",\n\r]/.test(words) ? `"${words.replace(/"/g, '""')}"` : words;
  };
  const csv = (rows) => `${rows.map((row) => row.map(cell).join(",")).join("\r\n")}\r\n`;

  const escape = (words) => String(words ?? "").replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
  function page(title, picture, rows, colours) {
    const line = (row, tag) => `<tr>${row.map((c) => `<${tag}>${escape(typeof c === "number" ? +c.toPrecision(6) : c)}</${tag}>`).join("")}</tr>`;
    const table = rows.length ? `<table><thead>${line(rows[0], "th")}</thead><tbody>${rows.slice(1).map((r) => line(r, "td")).join("")}</tbody></table>` : "";
    return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escape(title)}</title>
<style>body{font:15px/1.5 "IBM Plex Sans",system-ui,sans-serif;margin:32px auto;max-width:900px;padding:0 16px;background:${colours.paper};color:${colours.ink}}
svg{max-width:100%;height:auto}table{border-collapse:collapse;margin-top:24px;font-variant-numeric:tabular-nums}th,td{text-align:left;padding:3px 14px 3px 0;border-bottom:1px solid #8885;white-space:pre-wrap}
</style><h1>${escape(title)}</h1>${picture}${table}`;
  }

  function save(blob, name) {
    const link = el("a"), url = URL.createObjectURL(blob);
    link.href = url; link.download = name;
    document.body.append(link); link.click(); link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }

  async function write(kind, options) {
    const name = `${safeName(read(options.name))}.${kind}`, title = read(options.title) || "";
    if (kind === "csv") return save(new Blob([csv(options.rows?.() || [])], { type: "text/csv;charset=utf-8" }), name);
    const picture = options.svg?.() || null, paper = background(picture?.isConnected ? picture : options.container);
    const made = picture && standalone(picture, kind === "html" ? "" : title, paper, options.keys?.() || []);
    if (kind === "html") {
      const ink = plain(getComputedStyle(options.container).color);
      const body = options.html?.() || (made ? text(made.copy) : "");
      return save(new Blob([page(title || read(options.name), body, options.rows?.() || [], { paper, ink })], { type: "text/html;charset=utf-8" }), name);
    }
    save(kind === "svg" ? new Blob([text(made.copy)], { type: "image/svg+xml;charset=utf-8" }) : await png(made), name);
  }

  const KINDS = { png: "Picture (PNG)", svg: "Drawing (SVG)", html: "Page (HTML)", csv: "Numbers (CSV)" };

  // attach(container, {name, title?, svg?, rows?, html?, keys?}): adds the button and its menu. Each
  // option is a value or a function that is asked at the moment of the export. `keys` are the legend of
  // a picture that has none in it: {mark?, size?, text, width}, the mark what is drawn around 0, `size` wide,
  // or a dot of the picture.
  function attach(container, options) {
    const root = el("div", "export"), button = el("button", "", "Export"), menu = el("div", "menu");
    button.type = "button";
    button.setAttribute("aria-haspopup", "menu");
    menu.setAttribute("role", "menu"); menu.hidden = true;
    const full = Object.create(options, { container: { value: container } }); // getters stay getters
    const open = (yes) => {
      menu.hidden = !yes;
      button.setAttribute("aria-expanded", String(yes));
      if (!yes) return;
      menu.classList.toggle("left", root.getBoundingClientRect().right < menu.offsetWidth + 8);
      menu.firstChild.focus();
    };
    for (const [kind, words] of Object.entries(KINDS)) {
      if (kind === "csv" ? !options.rows : kind === "html" ? !options.svg && !options.html : !options.svg) continue;
      const item = el("button", "", words);
      item.type = "button"; item.tabIndex = -1; item.dataset.kind = kind;
      item.setAttribute("role", "menuitem");
      item.addEventListener("click", (e) => { e.stopPropagation(); open(false); button.focus(); write(kind, full); });
      menu.append(item);
    }
    button.addEventListener("click", (e) => { e.stopPropagation(); open(menu.hidden); });
    root.addEventListener("keydown", (e) => {
      const items = [...menu.children], at = items.indexOf(document.activeElement);
      const move = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[e.key];
      if (e.key === "Escape" && !menu.hidden) { open(false); button.focus(); }
      else if (move !== undefined && !menu.hidden) items[(move + items.length) % items.length].focus();
      else if (menu.hidden || !["Enter", " ", "Tab"].includes(e.key)) return;
      else return e.stopPropagation();
      e.preventDefault(); e.stopPropagation();
    });
    root.addEventListener("focusout", (e) => { if (!root.contains(e.relatedTarget)) open(false); });
    open(false);
    root.append(button, menu);
    container.append(root);
    return root;
  }

  window.rlkvExport = { attach };
})();
