// The report: the cards of all sentences that contain the text searched for, in the order that the reader chooses.

const $ = (id) => document.getElementById(id);
const AT_ONCE = 50; // cards that are added before the browser may draw
const report = JSON.parse($("data").textContent);
const lang = {source: report.languages[0] || null, target: report.languages[1] || null};

$("about").textContent = [...Object.entries(report.head).map(([name, value]) => `${name}: ${value}`),
  `${report.sentences.length} sentences`, `links of ${report.level} from the ${report.read_from}`].join(" · ");

const wordsOf = (tokens, glued) => tokens.map((text, index) => ({text, glued: glued.includes(index)}));
const readable = (tokens, glued) => report.level === "pieces" ? tokens.join("").replaceAll("\u2581", " ")
  : tokens.map((text, index) => (index && !glued.includes(index) ? " " : "") + text).join("");

function alignmentOf(sentence, option) {
  return {source: wordsOf(sentence.src, sentence.glued), target: wordsOf(option.tgt, option.glued),
    links: option.links.map(([s, t]) => [s, t, option.weights[t][s] / 100]),
    weights: option.weights.map((row) => row.map((value) => value / 100)), from: report.read_from};
}

// The values that sentences can be sorted by, largest first.
const orders = {
  given: () => 0,
  unsure: ({options: [best]}) => best.confidence.length // an empty line comes last
    ? -best.confidence.reduce((sum, value) => sum + value, 0) / best.confidence.length : -Infinity,
  longest: ({src}) => src.length,
  omission: ({src, options: [best]}) => src.length ? 1 - new Set(best.links.map(([s]) => s)).size / src.length : -1,
  repetition: ({options: [best]}) => {
    const letters = best.tgt.filter((word) => /\p{L}/u.test(word)).map((word) => word.toLowerCase());
    return letters.length - new Set(letters).size;
  },
};

// Returns the words, marking those outside a longest common subsequence with the words of the shown translation.
function compared(tokens, glued, shown) {
  const length = Array.from({length: tokens.length + 1}, () => new Array(shown.length + 1).fill(0));
  for (let i = tokens.length - 1; i >= 0; i--) for (let j = shown.length - 1; j >= 0; j--)
    length[i][j] = tokens[i] === shown[j] ? length[i + 1][j + 1] + 1 : Math.max(length[i + 1][j], length[i][j + 1]);
  const parts = [];
  for (let i = 0, j = 0; i < tokens.length; i++) {
    while (j < shown.length && tokens[i] !== shown[j] && length[i][j + 1] >= length[i + 1][j]) j++;
    const same = j < shown.length && tokens[i] === shown[j];
    if (i && !glued.includes(i)) parts.push(" ");
    parts.push(same ? tokens[i] : element("mark", {}, tokens[i]));
    if (same) j++;
  }
  return parts;
}

const watched = new IntersectionObserver((entries) => {
  for (const {target, isIntersecting} of entries) if (isIntersecting) drawLinks(target, $("show-lines").checked);
});

function card(sentence, number) {
  const made = element("article", {class: "card", id: `s${number + 1}`, "aria-label": `sentence ${number + 1}`});
  let chosen = 0;
  const draw = () => {
    const option = sentence.options[chosen], alignment = alignmentOf(sentence, option);
    const pair = pairOf(alignment, {confidence: option.confidence.map((value) => value / 100), lang,
      wide: sentence.src.length > 20, roving: true});
    const rest = [];
    if ($("show-matrix").checked) rest.push(matrixTable(alignment));
    if (sentence.reference) rest.push(element("p", {class: "reference", lang: lang.target, dir: "auto"},
      element("span", {class: "quiet"}, "reference: "), ...compared(sentence.reference, sentence.reference_glued, option.tgt)));
    if ($("show-others").checked && sentence.options.length > 1) rest.push(element("ol", {class: "others"},
      ...sentence.options.map((other, at) => element("li", {lang: lang.target, dir: "auto"},
        element("button", {type: "button", "aria-pressed": String(at === chosen), onclick: () => { chosen = at; draw(); }},
          ...compared(other.tgt, other.glued, option.tgt)), element("span", {class: "quiet"}, ` ${other.score.toFixed(3)}`)))));
    made.replaceChildren(element("p", {class: "quiet"}, element("a", {href: `#s${number + 1}`}, String(number + 1)),
      ` · score ${option.score.toFixed(3)}`), pair, ...rest);
    watched.observe(pair);
  };
  draw();
  return made;
}

// Returns a text in the form in which it is searched: composed letters, without capitals.
const plain = (text) => text.normalize("NFKC").toLowerCase().replaceAll("i\u0307", "i");

let wave = 0; // the number of the newest selection; older ones stop
function show() {
  const number = ++wave, wanted = plain($("search").value.trim()), value = orders[$("order").value];
  const chosen = [...report.sentences.keys()].filter((at) => {
    const {src, glued, options, reference, reference_glued} = report.sentences[at];
    return !wanted || [[src, glued], [reference || [], reference_glued || []], ...options.map((one) => [one.tgt, one.glued])]
      .some(([tokens, without]) => plain(readable(tokens, without)).includes(wanted));
  });
  const worth = new Map(chosen.map((at) => [at, value(report.sentences[at])]));
  chosen.sort((one, other) => (worth.get(other) > worth.get(one)) - (worth.get(other) < worth.get(one)) || one - other);
  $("state").textContent = wanted ? `${chosen.length} ${chosen.length === 1 ? "sentence" : "sentences"} with “${wanted}”` : "";
  $("cards").replaceChildren();
  let next = 0;
  const more = () => {
    if (number !== wave) return;
    $("cards").append(...chosen.slice(next, next + AT_ONCE).map((at) => card(report.sentences[at], at)));
    next += AT_ONCE;
    if (next < chosen.length) requestAnimationFrame(more);
    else if (location.hash) document.querySelector(location.hash.replace(/[^#\w]/g, ""))?.scrollIntoView();
  };
  more();
}

let timer = 0;
$("search").addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(show, 150); });
for (const id of ["order", "show-matrix", "show-others"]) $(id).addEventListener("change", show);
const redraw = () => { for (const pair of document.querySelectorAll(".pair")) { watched.unobserve(pair); watched.observe(pair); } };
$("show-lines").addEventListener("change", redraw);
window.addEventListener("resize", redraw);
show();
