"use strict";
// The page of `nmt serve`. Its state is the text and the reader's changes to each line: a beginning that the
// translation must have, and words hidden from the attention.

const $ = (id) => document.getElementById(id);
const PAUSE = 150; // milliseconds without a keystroke after which the text is translated
const EXAMPLES = 4;
let models = [];
let asked = 0; // the number of the newest request; older answers are dropped
let changes = new Map(); // line -> {prefix, hide: [[start, end]]}
let timer = 0;
let watch = 0; // the timer of the training curve
let changed = null; // what the reader has just changed, {at, side, index}: it gets the focus back
const OPENS = /['’\-([{«„“¿¡\u05be\u3000-\u303f\uff01-\uff65]$/u; // after these, a word goes on without a space
// the end of a text in a script without spaces, with digits and signs that may follow
const WITHOUT_SPACES = /[\p{scx=Han}\p{scx=Hira}\p{scx=Kana}\p{scx=Thai}\p{scx=Lao}\p{scx=Khmer}\p{scx=Mymr}\p{scx=Tibt}][\p{P}\p{N}\p{S}]*$/u;

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
  $("about").className = "quiet";
  $("about").textContent = `${model.name}: ${model.source} → ${model.target}, ${model.encoder} encoder, ${model.attention} attention, `
    + `${model.decoder} decoder, ${model.checkpoint}, beam ${model.beam}`;
  $("source").lang = model.source;
}

let running = null;
async function translate() {
  clearTimeout(timer);
  const number = ++asked;
  if (running) running.abort(); // the answer to the old request is no longer needed
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
  focusChanged(cards);
  $("state").textContent = failed ? "" : `${Math.round(performance.now() - started)} ms`;
  drawAllLinks();
}

// Moves the focus to the word that the reader has changed, or to its card if the word is no longer there.
function focusChanged(cards) {
  const card = changed && cards[changed.at];
  if (card) {
    card.tabIndex = -1;
    (card.querySelector(`.word[data-side=${changed.side}][data-index="${changed.index}"]`) || card).focus();
  }
  changed = null;
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
    } else place.append(translated(line, at, names[index], answer, change));
    columns.append(place);
  });
  const tools = element("div", {class: "row tools"});
  if (change.prefix || (change.hide || []).length)
    tools.append(element("button", {onclick: () => { changes.delete(at); changed = {at}; translate(); }}, "undo my changes"));
  const first = answers.find((answer) => !answer.error);
  if (first) tools.append(
    element("button", {onclick: () => copy(first.translatedText)}, "copy"),
    element("button", {onclick: () => save(at, "json", JSON.stringify({source: line, answers}, null, 1))}, "JSON"));
  if (first && first.alignment) tools.append(
    element("button", {onclick: () => save(at, "svg", matrixPicture(first.alignment))}, "SVG"),
    element("button", {onclick: () => savePNG(at, matrixPicture(first.alignment))}, "PNG"));
  if (folded && line.length > 300) {
    card.append(element("details", {ontoggle: drawAllLinks}, element("summary", {dir: "auto"}, start(line, 120)), columns, tools));
  } else card.append(columns, tools);
}

// Returns the beginning of a text, cut between characters.
function start(text, most) {
  const characters = [...text];
  return characters.length > most ? characters.slice(0, most).join("") + " …" : text;
}

// Copies a text. Browsers give pages of other machines without HTTPS no clipboard, but let them copy what is selected.
async function copy(text) {
  let done = true;
  if (navigator.clipboard) await navigator.clipboard.writeText(text).catch(() => { done = false; });
  else {
    const back = document.activeElement, area = element("textarea", {readonly: true});
    area.value = text;
    document.body.append(area);
    area.select();
    done = document.execCommand("copy");
    area.remove();
    back.focus();
  }
  $("state").textContent = done ? "copied" : "The browser does not allow copying; select the text instead.";
}

// Returns characters of a text. The server counts code points, and JavaScript counts halves of some of them.
function part(text, start, end) {
  return [...text].slice(start, end).join("");
}

// Returns the element of a sentence and its translation, with score and alternatives. A click on a word offers changes.
function translated(line, at, model, answer, change) {
  const alignment = answer.alignment;
  const info = models.find((one) => one.name === model) || {};
  const hidden = (word) => (change.hide || []).some(([start, end]) => start < word.end && word.start < end);
  const fixed = [...(change.prefix || "").trimEnd()].length;
  const word = (side, one, index) => side === "source" ? {
    class: hidden(one) ? "hidden" : "", title: hidden(one) ? "hidden from the attention" : null, "aria-haspopup": "dialog",
    onclick: (event) => offerToHide(event.currentTarget, at, one, hidden(one)),
  } : {
    class: one.end <= fixed ? "fixed" : "", "aria-haspopup": "dialog",
    title: `confidence ${(answer.confidence[index] ?? 1).toFixed(2)}; click to choose another word`,
    onclick: (event) => choose(event.currentTarget, line, at, model, answer.translatedText, one, alignment.source),
  };
  const lang = {source: info.source, target: info.target};
  const pair = alignment ? pairOf(alignment, {confidence: answer.confidence, lang, wide: line.length > 120, word})
    : element("div", {class: "pair"}, element("p", {class: "sentence", lang: info.target, dir: "auto"}, answer.translatedText));
  if (alignment && $("show-matrix").checked) pair.append(matrixTable(alignment));
  if ((answer.alternatives || []).length) pair.append(element("ol", {class: "others", start: 2},
    ...answer.alternatives.filter((text) => text).map((text) => element("li", {lang: info.target, dir: "auto"},
      element("button", {type: "button", onclick: () => { set({at}, {prefix: text}); }}, text)))));
  pair.append(element("p", {class: "quiet"}, `score ${answer.scores.score === null ? "none" : answer.scores.score.toFixed(3)}`
    + (alignment ? ` · links from the ${alignment.from}` : "")));
  return pair;
}

// Changes the translation of a line; `place` says where the reader was, {at, side, index}.
function set(place, change) {
  changes.set(place.at, {...(changes.get(place.at) || {}), ...change});
  changed = place;
  translate();
}

function placeOf(at, anchor) {
  return {at, side: anchor.dataset.side, index: anchor.dataset.index};
}

function toggleHidden(place, word) {
  const now = (changes.get(place.at) || {}).hide || [];
  const rest = now.filter(([start, end]) => !(start < word.end && word.start < end));
  set(place, {hide: rest.length < now.length ? rest : [...now, [word.start, word.end]]});
}

function drawAllLinks() {
  for (const pair of document.querySelectorAll(".pair")) drawLinks(pair, $("show-lines").checked);
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
  const button = element("button", {type: "button", onclick: () => { $("chooser").hidden = true; toggleHidden(placeOf(at, anchor), word); }}, label);
  openBox(anchor, "What if", button);
  button.focus();
}

// Offers other words for this place. The reader chooses or types one, and the rest is translated again. The reader may
// also restrict the attention to one source word.
async function choose(anchor, line, at, model, text, word, source) {
  const before = part(text, 0, word.start).trimEnd();
  const glue = before ? before + (/\s$/.test(part(text, 0, word.start)) ? " " : "") : "";
  const box = $("chooser");
  const take = (chosen, space) => {
    box.hidden = true;
    const begun = before && space ? before + " " : before;
    const ends = !WITHOUT_SPACES.test(begun + chosen) && !OPENS.test(chosen); // a space says that the word ends here
    set(placeOf(at, anchor), {prefix: begun + chosen + (ends ? " " : "")});
  };
  const input = element("input", {type: "text", dir: "auto", "aria-label": "another word, or a beginning", placeholder: "or type a beginning",
    onkeydown: (event) => { if (event.key !== "Enter" || event.isComposing || !input.value.trim()) return; // Enter also ends an IME's conversion
      box.hidden = true;
      set(placeOf(at, anchor), {prefix: glue + input.value});
    }});
  const list = element("ul", {}, element("li", {}, "…"));
  const pin = element("select", {id: "pin", onchange: suggest}, element("option", {value: ""}, "all words"),
    ...source.map((one) => element("option", {value: `${one.start},${one.end}`}, one.text)));
  openBox(anchor, "Other words", list, element("p", {class: "row"}, element("label", {for: "pin"}, "looking at"), pin), input);
  async function suggest() {
    try {
      const look_at = pin.value ? pin.value.split(",").map(Number) : null;
      fillList(await ask("/suggest", {q: line, prefix: glue, count: 8, model, look_at}));
    } catch (error) { list.replaceChildren(element("li", {class: "error"}, error.message)); }
  }
  function fillList({words}) {
    list.replaceChildren(...words.filter(({word: other}) => other).map(({word: other, probability, space}) => element("li", {}, element("button",
      {type: "button", onclick: () => take(other, space)}, element("span", {dir: "auto"}, other), element("span", {class: "quiet"}, probability.toFixed(3))))));
  }
  input.focus();
  await suggest();
  if (!box.hidden && document.activeElement === input && !input.value) (list.querySelector("button") || input).focus();
}

// Shows the curve of a training now, and again every few seconds.
async function watchTraining() {
  clearTimeout(watch);
  try { await showTraining(); } catch { /* the server may be busy, and answers the next time */ }
  watch = setTimeout(watchTraining, 5000);
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
}

$("source").addEventListener("input", () => { $("chooser").hidden = true; changes.clear(); changed = null; clearTimeout(timer); timer = setTimeout(translate, PAUSE); });
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
    $("examples").replaceChildren(...examples.slice(0, EXAMPLES).map((text) => element("button", {type: "button", dir: "auto",
      onclick: () => { $("source").value = text; changes.clear(); translate(); }}, start(text, 40))));
    fromAddress();
    watchTraining();
  } catch (error) { $("about").textContent = error.message; }
}
begin();
