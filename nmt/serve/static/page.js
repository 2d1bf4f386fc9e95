"use strict";
// The page of `nmt serve`. State is the text and, for each line, what the reader has changed: a forced beginning, hidden words.

const $ = (id) => document.getElementById(id);
const PAUSE = 150; // milliseconds without a keystroke after which the text is translated
const UNSURE = 0.5; // confidence below which a word is marked
const EXAMPLES = 4;
let models = [];
let asked = 0; // the number of the newest request; older answers are dropped
let changes = new Map(); // line -> {prefix, hide: [[start, end]]}
let timer = 0;

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

async function ask(path, body, signal) {
  const key = $("key").value ? {authorization: "Bearer " + $("key").value} : {};
  const response = await fetch(path, body === undefined ? {signal, headers: key} : {
    method: "POST", signal, headers: {"content-type": "application/json", ...key}, body: JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error || response.statusText);
  return answer;
}

async function loadModels() {
  models = await ask("/models");
  for (const [id, first] of [["model", []], ["beside", [["", "nothing"]]]]) {
    const chosen = $(id).value;
    $(id).replaceChildren(...first.map(([value, text]) => element("option", {value}, text)),
      ...models.map((model) => element("option", {value: model.name}, model.name)));
    if (chosen) $(id).value = chosen;
  }
  for (const label of [$("beside"), document.querySelector("label[for=beside]")]) label.hidden = models.length < 2;
  const model = models.find((one) => one.name === $("model").value) || models[0];
  if (!model) { $("about").textContent = "No model is served."; document.querySelector(".ask").hidden = true; return; }
  if (model.error) { $("about").textContent = model.error; $("about").className = "error"; return; }
  if (model.loading) { setTimeout(loadModels, 300); return; }
  $("about").textContent = `${model.name}: ${model.source} → ${model.target}, ${model.encoder} encoder, ${model.attention} attention, `
    + `${model.decoder} decoder, ${model.checkpoint}, beam ${model.beam}`;
  $("source").lang = model.source;
}

let running = null;
async function translate() {
  clearTimeout(timer);
  const number = ++asked;
  if (running) running.abort(); // an old request is of no use to anybody
  running = new AbortController();
  const lines = $("source").value.split("\n");
  history.replaceState(null, "", lines.join("").trim() ? "#q=" + encodeURIComponent($("source").value) : location.pathname);
  if (!lines.join("").trim()) { $("cards").replaceChildren(); $("state").textContent = ""; return; }
  $("state").textContent = "…";
  const names = [$("model").value || (models[0] || {}).name, $("beside").value].filter((name, at) => name || at === 0);
  const started = performance.now();
  const jobs = lines.map((line, at) => line.trim() ? names.map((name) => request(line, at, name, running.signal)) : []);
  let failed = null;
  const cards = lines.map((line, at) => line.trim() ? element("article", {class: "card", "aria-label": `line ${at + 1}`}) : null);
  await Promise.all(jobs.map(async (all, at) => {
    if (!cards[at]) return;
    const answers = await Promise.all(all.map((job) => job.catch((error) => ({error}))));
    if (number !== asked) return;
    failed = failed || answers.map((answer) => answer.error).find((error) => error);
    fill(cards[at], lines[at], at, names, answers, lines.length > 1);
  }));
  if (number !== asked) return;
  $("cards").replaceChildren(...cards.filter((card) => card));
  $("state").textContent = failed ? "" : `${Math.round(performance.now() - started)} ms`;
  drawAllLinks();
}

function request(line, at, model, signal) {
  const change = changes.get(at) || {};
  return ask("/translate", {
    q: line, model, alignment: true, confidence: true, scores: true, alternatives: $("show-others").checked ? 4 : 0,
    prefix: change.prefix || "", hide: change.hide || [],
  }, signal);
}

function fill(card, line, at, names, answers, folded) {
  const change = changes.get(at) || {};
  const columns = element("div", {class: names.length > 1 ? "columns two" : "columns"});
  answers.forEach((answer, index) => {
    const place = element("div");
    if (names.length > 1) place.append(element("p", {class: "name"}, names[index]));
    if (answer.error) {
      if (answer.error.name !== "AbortError") place.append(element("p", {class: "error", role: "alert"}, answer.error.message));
    } else place.append(pairOf(line, at, names[index], answer, change));
    columns.append(place);
  });
  const tools = element("div", {class: "row tools"});
  if (change.prefix || (change.hide || []).length)
    tools.append(element("button", {onclick: () => { changes.delete(at); translate(); }}, "undo my changes"));
  const first = answers.find((answer) => !answer.error);
  if (first) tools.append(
    element("button", {onclick: () => navigator.clipboard.writeText(first.translatedText)}, "copy"),
    element("button", {onclick: () => save(at, "json", JSON.stringify({source: line, answers}, null, 1))}, "JSON"),
    element("button", {onclick: () => save(at, "svg", matrixPicture(first.alignment))}, "SVG"),
    element("button", {onclick: () => savePNG(at, matrixPicture(first.alignment))}, "PNG"));
  if (folded && line.length > 300) {
    card.append(element("details", {ontoggle: drawAllLinks}, element("summary", {}, line.slice(0, 120) + " …"), columns, tools));
  } else card.append(columns, tools);
}

// One sentence and its translation: words that light each other up, the lines between them, the matrix.
function pairOf(line, at, model, answer, change) {
  const alignment = answer.alignment;
  const pair = element("div", {class: "pair"});
  const info = models.find((one) => one.name === model) || {};
  if (!alignment) {
    pair.append(element("p", {class: "sentence", lang: info.target, dir: "auto"}, answer.translatedText));
    return pair;
  }
  const hidden = (word) => (change.hide || []).some(([start, end]) => start < word.end && word.start < end);
  const fixed = (change.prefix || "").trimEnd().length;
  const words = {
    source: alignment.source.map((word, index) => button(word, index, "source", {
      class: "word" + (hidden(word) ? " hidden" : ""),
      title: hidden(word) ? "hidden from the attention" : null, "aria-haspopup": "dialog",
      onclick: (event) => offerToHide(event.currentTarget, at, word, hidden(word)),
    })),
    target: alignment.target.map((word, index) => button(word, index, "target", {
      class: "word" + ((answer.confidence[index] ?? 1) < UNSURE ? " unsure" : "") + (word.end <= fixed ? " fixed" : ""),
      title: `confidence ${(answer.confidence[index] ?? 1).toFixed(2)}; click to choose another word`, "aria-haspopup": "dialog",
      onclick: (event) => choose(event.currentTarget, line, at, model, answer.translatedText, word),
    })),
  };
  function button(word, index, side, attributes) {
    const shown = element("button", {...attributes, type: "button", "data-side": side, "data-index": index}, word.text);
    for (const event of ["mouseenter", "focus"]) shown.addEventListener(event, () => light(pair, alignment, side, index));
    for (const event of ["mouseleave", "blur"]) shown.addEventListener(event, () => light(pair, alignment, null));
    return shown;
  }
  const sentence = (side, text, lang) => element("div", {class: "sentence " + side, lang, dir: "auto"},
    ...words[side].map((word, index) => {
      const before = index && alignment[side][index - 1].end === alignment[side][index].start;
      if (before) word.classList.add("glued");
      return word;
    }));
  pair.append(sentence("source", line, info.source), element("div", {class: "gap" + (line.length > 120 ? " wide" : "")}),
    sentence("target", answer.translatedText, info.target));
  pair.links = alignment.links;
  if ($("show-matrix").checked) pair.append(matrixTable(alignment));
  if ((answer.alternatives || []).length) pair.append(element("ol", {class: "others", start: 2},
    ...answer.alternatives.filter((text) => text).map((text) => element("li", {lang: info.target, dir: "auto"},
      element("button", {type: "button", onclick: () => { set(at, {prefix: text}); }}, text)))));
  pair.append(element("p", {class: "quiet"}, `score ${answer.scores.score === null ? "none" : answer.scores.score.toFixed(3)}`
    + ` · links from the ${alignment.from}`));
  return pair;
}

function set(at, change) {
  changes.set(at, {...(changes.get(at) || {}), ...change});
  translate();
}

function toggleHidden(at, word) {
  const now = (changes.get(at) || {}).hide || [];
  const rest = now.filter(([start, end]) => !(start < word.end && word.start < end));
  set(at, {hide: rest.length < now.length ? rest : [...now, [word.start, word.end]]});
}

// Light up what a word is tied to. Weights are shown as text too, so that colour is not the only sign.
function light(pair, alignment, side, index) {
  for (const word of pair.querySelectorAll(".word")) { word.classList.remove("lit"); word.style.backgroundColor = ""; }
  for (const note of pair.querySelectorAll(".weight")) note.remove();
  for (const line of pair.querySelectorAll("line")) line.classList.remove("lit");
  if (side === null) return;
  const weight = (other) => side === "target" ? alignment.weights[index][other] : alignment.weights[other][index];
  const others = pair.querySelectorAll(side === "target" ? ".source .word" : ".target .word");
  pair.querySelector(`.word[data-side=${side}][data-index="${index}"]`).classList.add("lit");
  others.forEach((word, other) => {
    const value = weight(other);
    word.style.backgroundColor = `rgba(${getComputedStyle(document.documentElement).getPropertyValue("--mark")}, ${value})`;
    if (value >= 0.1) word.after(element("span", {class: "weight", "aria-hidden": "true"}, value.toFixed(2)));
  });
  for (const line of pair.querySelectorAll("line")) line.classList.toggle("lit", Number(line.dataset[side]) === index);
}

function drawAllLinks() {
  for (const pair of document.querySelectorAll(".pair")) {
    pair.querySelector("svg.links")?.remove();
    if (!$("show-lines").checked || !pair.links || !pair.offsetParent) continue;
    const box = pair.getBoundingClientRect();
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const wraps = [...pair.querySelectorAll(".sentence")].some((one) => one.offsetHeight > 1.8 * one.firstElementChild?.offsetHeight);
    svg.setAttribute("class", wraps ? "links wraps" : "links"); // lines through text are shown for one word at a time
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
}

function matrixTable(alignment) {
  const colour = getComputedStyle(document.documentElement).getPropertyValue("--mark");
  const cell = (value, row, column) => {
    const made = element("td", {title: `${alignment.target[row].text} – ${alignment.source[column].text}: ${value.toFixed(2)}`});
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
  const escape = (text) => text.replace(/[&<>"]/g, (c) => ({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}[c]));
  const size = 22, left = 20 + 9 * Math.max(...alignment.target.map((word) => word.text.length), 1);
  const top = 20 + 9 * Math.max(...alignment.source.map((word) => word.text.length), 1);
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

// Shows a small box under a word; Escape closes it.
function openBox(anchor, label, ...content) {
  const box = $("chooser");
  box.setAttribute("aria-label", label);
  box.replaceChildren(...content);
  box.onkeydown = (event) => { if (event.key === "Escape") { box.hidden = true; anchor.focus(); } };
  const place = anchor.getBoundingClientRect();
  box.hidden = false;
  box.style.left = Math.max(4, Math.min(place.left + scrollX, document.documentElement.clientWidth - box.offsetWidth - 4)) + "px";
  box.style.top = place.bottom + scrollY + 4 + "px";
}

function offerToHide(anchor, at, word, hidden) {
  const label = hidden ? "let the model look at this word again" : "hide this word from the attention";
  const button = element("button", {type: "button", onclick: () => { $("chooser").hidden = true; toggleHidden(at, word); }}, label);
  openBox(anchor, "What if", button);
  button.focus();
}

// What else could stand here: the reader chooses or types, and the rest follows.
async function choose(anchor, line, at, model, text, word) {
  const before = text.slice(0, word.start).trimEnd();
  const glue = before ? before + (/\s$/.test(text.slice(0, word.start)) ? " " : "") : "";
  const box = $("chooser");
  const take = (chosen) => {
    box.hidden = true;
    const begun = /^[\p{P}]+$/u.test(chosen) ? glue.trimEnd() : glue; // no space before a full stop
    set(at, {prefix: begun + chosen + " "});
  };
  const input = element("input", {type: "text", "aria-label": "another word, or a beginning", placeholder: "or type a beginning",
    onkeydown: (event) => { if (event.key === "Enter" && input.value.trim()) { box.hidden = true; set(at, {prefix: glue + input.value}); } }});
  const list = element("ul", {}, element("li", {}, "…"));
  openBox(anchor, "Other words", list, input);
  try {
    const {words} = await ask("/suggest", {q: line, prefix: glue, count: 8, model});
    list.replaceChildren(...words.filter(({word: other}) => other).map(({word: other, probability}) => element("li", {}, element("button",
      {type: "button", onclick: () => take(other)}, element("span", {dir: "auto"}, other), element("span", {class: "quiet"}, probability.toFixed(3))))));
    (list.querySelector("button") || input).focus();
  } catch (error) { list.replaceChildren(element("li", {class: "error"}, error.message)); input.focus(); }
}

async function showTraining() {
  const {records} = await ask("/training");
  if (!records.length) return;
  $("training").hidden = false;
  const train = records.filter((record) => !record.valid), valid = records.filter((record) => record.valid);
  const last = train[train.length - 1], best = valid.map((record) => record.valid).slice(-1)[0];
  $("training-text").textContent = [last && `update ${last.update}, epoch ${last.epoch}, loss ${last.loss.toFixed(3)}, `
    + `${Math.round(last.tokens_per_second)} tokens/s`, best && "validation: " + Object.entries(best).map(([name, value]) => `${name} ${value.toFixed(2)}`).join(", ")]
    .filter((text) => text).join(" · ");
  const points = [["train", train.map((r) => [r.update, r.loss])], ["valid", valid.map((r) => [r.update, r.valid.loss])]];
  const all = points.flatMap(([, list]) => list).filter(([, loss]) => Number.isFinite(loss));
  const most = Math.max(...all.map(([update]) => update)), low = Math.min(...all.map(([, loss]) => loss)), high = Math.max(...all.map(([, loss]) => loss));
  const x = (update) => 40 + 540 * update / most, y = (loss) => 180 - 160 * (loss - low) / (high - low || 1);
  const svg = `<svg class="curve" viewBox="0 0 600 210" role="img" aria-label="training and validation loss">`
    + points.map(([name, list]) => `<path class="${name}" d="${list.map(([u, l], at) => `${at ? "L" : "M"}${x(u).toFixed(1)},${y(l).toFixed(1)}`).join("")}"/>`).join("")
    + `<text x="4" y="24">${high.toFixed(2)}</text><text x="4" y="184">${low.toFixed(2)}</text><text x="596" y="204" text-anchor="end">update ${most}</text></svg>`;
  $("training-curve").innerHTML = svg;
  setTimeout(showTraining, 5000);
}

$("source").addEventListener("input", () => { $("chooser").hidden = true; changes.clear(); clearTimeout(timer); timer = setTimeout(translate, PAUSE); });
for (const id of ["model", "beside"]) $(id).addEventListener("change", async () => { await loadModels(); translate(); });
$("key").addEventListener("change", () => { begin(); translate(); });
for (const id of ["show-matrix", "show-others"]) $(id).addEventListener("change", translate);
$("show-lines").addEventListener("change", drawAllLinks);
document.addEventListener("click", (event) => {
  if (!$("chooser").contains(event.target) && !event.target.closest(".word")) $("chooser").hidden = true;
});
window.addEventListener("resize", drawAllLinks);
window.addEventListener("hashchange", fromAddress);

function fromAddress() {
  const text = new URLSearchParams(location.hash.slice(1)).get("q");
  if (text !== null && text !== $("source").value) { $("source").value = text; changes.clear(); translate(); }
}

async function begin() {
  try {
    await loadModels();
    document.querySelector(".key").hidden = !(await ask("/frontend/settings")).keyRequired;
    const {examples} = await ask("/examples");
    $("examples").replaceChildren(...examples.slice(0, EXAMPLES).map((text) => element("button", {type: "button",
      onclick: () => { $("source").value = text; changes.clear(); translate(); }}, text.length > 40 ? text.slice(0, 40) + " …" : text)));
    fromAddress();
    showTraining();
  } catch (error) { $("about").textContent = error.message; }
}
begin();
