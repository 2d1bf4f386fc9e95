"use strict";
// A sentence and its translation as `nmt serve` and the report show them: words, the lines between them, the matrix.

const UNSURE = 0.5; // confidence below which a word is marked

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

// Returns the element of a sentence pair, in which a word highlights the words that it is aligned to. `alignment` has
// the words of both sides, `links` [source, target, weight] and `weights` [target][source]. A word is
// {text, start, end} or {text, glued}, where `glued` is true if nothing separates it from the word before. `wishes` has
// the `confidence` of the target words, the `lang` of both sides, `wide` (more room for the lines), `roving` (one tab
// stop for each sentence, arrow keys inside) and `word`(side, word, index), which returns further attributes of a
// word's element.
function pairOf(alignment, wishes) {
  const pair = element("div", {class: "pair"});
  const button = (word, index, side) => {
    const unsure = side === "target" && (wishes.confidence[index] ?? 1) < UNSURE;
    const {class: more = "", ...attributes} = wishes.word ? wishes.word(side, word, index) : {};
    const before = alignment[side][index - 1];
    const glued = index > 0 && (word.glued ?? before.end === word.start);
    // Not a <button>: words of left-to-right and right-to-left scripts are in the right order only as inline text.
    const shown = element("span", {
      title: side === "target" ? `confidence ${(wishes.confidence[index] ?? 1).toFixed(2)}` : null,
      ...attributes, class: ["word", unsure ? "unsure" : "", glued ? "glued" : "", more].filter((name) => name).join(" "),
      role: "button", "data-side": side, "data-index": index, tabindex: wishes.roving && index ? -1 : 0,
      onkeydown: (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); shown.click(); } },
    }, word.text);
    for (const event of ["mouseenter", "focus"]) shown.addEventListener(event, () => light(pair, alignment, side, index));
    for (const event of ["mouseleave", "blur"]) shown.addEventListener(event, () => light(pair, alignment, null));
    return shown;
  };
  const sentence = (side) => element("div", {class: "sentence " + side, lang: wishes.lang?.[side], dir: "auto",
    onkeydown: wishes.roving ? rove : () => {}}, ...alignment[side].flatMap((word, index) => {
    const shown = button(word, index, side);
    return index && !shown.classList.contains("glued") ? [" ", shown] : [shown];
  }));
  pair.append(sentence("source"), element("div", {class: "gap" + (wishes.wide ? " wide" : "")}), sentence("target"));
  pair.links = alignment.links;
  return pair;
}

function rove(event) {
  const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
  const words = [...event.currentTarget.querySelectorAll(".word")];
  const backwards = getComputedStyle(event.currentTarget).direction === "rtl" ? -1 : 1;
  const next = step && words[words.indexOf(event.target) + step * backwards];
  if (!next) return;
  event.preventDefault();
  event.target.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}

// Highlights the words and lines that a word is aligned to, or nothing if `side` is null. Weights are also shown as
// text, so that colour is not the only sign.
function light(pair, alignment, side, index) {
  for (const word of pair.querySelectorAll(".word")) { word.classList.remove("lit"); word.style.backgroundColor = ""; }
  for (const note of pair.querySelectorAll(".weight")) note.remove();
  for (const word of pair.querySelectorAll("[aria-description]")) word.removeAttribute("aria-description");
  for (const line of pair.querySelectorAll("line")) line.classList.remove("lit");
  if (side === null) return;
  const weight = (other) => side === "target" ? alignment.weights[index][other] : alignment.weights[other][index];
  const others = pair.querySelectorAll(side === "target" ? ".source .word" : ".target .word");
  const lit = pair.querySelector(`.word[data-side=${side}][data-index="${index}"]`);
  lit.classList.add("lit");
  const named = [...others].map((word, other) => [word.textContent, weight(other)]).filter(([, value]) => value >= 0.1);
  lit.setAttribute("aria-description", named.map(([text, value]) => `${text} ${value.toFixed(2)}`).join(", "));
  others.forEach((word, other) => {
    const value = weight(other);
    word.style.backgroundColor = `rgba(${getComputedStyle(document.documentElement).getPropertyValue("--mark")}, ${value})`;
    if (value >= 0.1) word.after(element("span", {class: "weight", "aria-hidden": "true"}, value.toFixed(2)));
  });
  for (const line of pair.querySelectorAll("line")) line.classList.toggle("lit", Number(line.dataset[side]) === index);
}

// Draws the lines between linked words; none if `show` is false or if the pair is not visible.
function drawLinks(pair, show) {
  pair.querySelector("svg.links")?.remove();
  if (!show || !pair.links || !pair.offsetParent) return;
  const box = pair.getBoundingClientRect();
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const wraps = [...pair.querySelectorAll(".sentence")].some((one) => one.offsetHeight > 1.8 * one.firstElementChild?.offsetHeight);
  svg.setAttribute("class", wraps ? "links wraps" : "links"); // lines that cross text are shown for one word at a time
  svg.setAttribute("aria-hidden", "true");
  for (const [source, target, weight] of pair.links) {
    const from = pair.querySelector(`.source .word[data-index="${source}"]`)?.getBoundingClientRect();
    const to = pair.querySelector(`.target .word[data-index="${target}"]`)?.getBoundingClientRect();
    if (!from || !to) continue;
    const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    const values = {x1: (from.left + from.right) / 2 - box.left, y1: from.bottom - box.top,
      x2: (to.left + to.right) / 2 - box.left, y2: to.top - box.top, "stroke-opacity": 0.25 + 0.75 * weight, "stroke-width": 1.5};
    for (const [name, value] of Object.entries(values)) line.setAttribute(name, value);
    line.dataset.source = source;
    line.dataset.target = target;
    svg.append(line);
  }
  pair.append(svg);
}

function matrixTable(alignment) {
  const colour = getComputedStyle(document.documentElement).getPropertyValue("--mark");
  const cell = (value, row, column) => {
    const title = `${alignment.target[row].text} – ${alignment.source[column].text}: ${value.toFixed(2)}`;
    const made = element("td", {title}, element("span", {class: "spoken"}, value.toFixed(2)));
    made.style.backgroundColor = `rgba(${colour}, ${value})`;
    return made;
  };
  const label = `alignment matrix of ${alignment.source.map((word) => word.text).join(" ")}`;
  return element("div", {class: "scroll", tabindex: 0, role: "region", "aria-label": label},
    element("table", {class: "matrix"},
      element("thead", {}, element("tr", {}, element("td"), ...alignment.source.map((word) => element("th", {scope: "col"}, word.text)))),
      element("tbody", {}, ...alignment.weights.slice(0, alignment.target.length).map((row, at) =>
        element("tr", {}, element("th", {scope: "row"}, alignment.target[at].text), ...row.map((value, column) => cell(value, at, column)))))));
}

function matrixPicture(alignment) {
  if (!alignment) return "";
  const forbidden = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g; // in XML
  const escape = (text) => text.replace(forbidden, "\ufffd")
    .replace(/[&<>"]/g, (c) => ({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}[c]));
  const ruler = element("canvas").getContext("2d");
  ruler.font = "14px sans-serif";
  const longest = (words) => Math.max(9, ...words.map((word) => Math.ceil(ruler.measureText(word.text).width)));
  const size = 22, left = 20 + longest(alignment.target), top = 20 + longest(alignment.source);
  const width = left + size * alignment.source.length + 10, height = top + size * alignment.target.length + 10;
  const parts = [`<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" font-size="14">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`];
  alignment.source.forEach((word, at) => parts.push(
    `<text transform="translate(${left + size * (at + 0.7)},${top - 6}) rotate(-90)">${escape(word.text)}</text>`));
  alignment.target.forEach((word, row) => {
    parts.push(`<text x="${left - 6}" y="${top + size * (row + 0.7)}" text-anchor="end">${escape(word.text)}</text>`);
    alignment.weights[row].forEach((value, column) => parts.push(`<rect x="${left + size * column}" y="${top + size * row}"`
      + ` width="${size}" height="${size}" fill="#8a5a00" fill-opacity="${value}" stroke="#ddd"/>`));
  });
  return parts.join("") + "</svg>";
}

function download(name, url) {
  const link = element("a", {href: url, download: name});
  document.body.append(link);
  link.click();
  link.remove();
}

function save(at, kind, text) {
  const url = URL.createObjectURL(new Blob([text], {type: kind === "svg" ? "image/svg+xml" : "application/json"}));
  download(`line-${at + 1}.${kind}`, url);
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

function savePNG(at, svg) {
  const image = new Image();
  image.onload = () => {
    const canvas = element("canvas", {width: 2 * image.width, height: 2 * image.height});
    const context = canvas.getContext("2d");
    context.scale(2, 2);
    context.drawImage(image, 0, 0);
    download(`line-${at + 1}.png`, canvas.toDataURL("image/png"));
  };
  image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(svg);
}
