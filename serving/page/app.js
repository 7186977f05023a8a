// The page: what is entered goes to the service, what comes back is shown, and what is chosen changes the display.

import { analyse, ask, Problem } from "./api.js";
import { paintArticle, renderArticle, renderRemoved } from "./article.js";
import { attempt, replace, say } from "./attempt.js";
import { note } from "./basket.js";
import { batchEntries, renderBatch, runBatch, saveBatch, showBatch, stopBatch } from "./batch.js";
import { $, copy, options } from "./dom.js";
import { Entry } from "./entry.js";
import { pressTopic, renderEvidence, renderSummary, renderTopics } from "./findings.js";
import { offerSeeds, takeInput } from "./input.js";
import { labelling, marking, renderLabelling, takeCorrections } from "./labelling.js";
import { describeWarning, language, switchLanguage, t, topicName, translate } from "./texts.js";

const settings = { threshold: null, sentences: null }; // null: each topic's own, and by the document's length
const known = new Map(); // topic id -> {id, name, threshold}
let info = null;
let active = null; // the topic that is chosen
let peeked = null; // the topic under the pointer or with the focus

const view = {
  known,
  ready,
  get limits() { return info.limits; },
  get single() { return info.single_label; },
  shown: (entry) => entry.topics(settings, known, info.single_label),
  keys: (entry) => entry.keys(settings),
  current: () => page.entry,
  open: (entry) => {
    replace();
    show(entry, true);
  },
  arrived: (entry) => {
    if (entry.source.row) entry.adopt(entry.source.row);
    note(entry);
  },
};
const page = { entry: null, view, show, refresh, choose, ready };

// Topics and limits are at hand: of the model that has just answered, where one is named; it may be another than before.
async function ready(model = info?.model) {
  if (info && info.model === model) return;
  const [topics, found] = await Promise.all([ask("v1/topics"), ask("v1/info")]);
  known.clear();
  for (const topic of topics.topics) known.set(topic.id, topic);
  info = found;
}

const analyseOne = (source, name) => attempt(async () => {
  const signal = replace();
  await ready();
  signal.throwIfAborted();
  close(); // what was shown is not what is asked for now
  const { documents, errors } = await analyse(source, view.limits, { signal });
  await ready(documents[0]?.model);
  signal.throwIfAborted();
  if (documents.length + errors.length > 1) { // a zip, or a mail with attachments
    showBatch(documents, errors, view);
    return refresh();
  }
  if (errors.length) throw new Problem("document", errors[0].error);
  const entry = new Entry(source, name);
  entry.set(documents[0]);
  show(entry);
  return t("done", view.shown(entry).length, view.keys(entry).length);
});

const analyseMany = (files) => attempt(async () => {
  const signal = replace();
  await ready();
  signal.throwIfAborted();
  close();
  await runBatch(files.map((file) => ({ file })), view);
  refresh();
});

// ——— The document that is shown

function show(entry, follow = false) {
  page.entry = entry;
  active = peeked = null;
  $("input").classList.add("compact");
  $("result").hidden = false;
  renderArticle(entry);
  refresh();
  if (follow) $("title").focus();
}

function close() {
  page.entry = active = peeked = null;
  $("result").hidden = true;
  $("input").classList.add("compact");
}

const state = () => ({ entry: page.entry, shown: view.shown(page.entry), active, known, editing: labelling.editing });

function refresh() {
  const { entry } = page;
  renderLabelling({ entry, view, stores: info?.corrections });
  if (batchEntries().length) renderBatch(view);
  if (!entry) return;
  $("title").textContent = entry.title || t("untitled");
  $("title").classList.toggle("untitled", !entry.title);
  $("meta").textContent = t("meta", entry.characters, entry.sentences.length, entry.analysis.model);
  renderRemoved(entry.analysis, describeWarning);
  renderControls(entry);
  renderTopics(state(), { peek, pin: (id) => choose(active === id ? null : id), remove: labelling.remove });
  renderSummary(entry, view.keys(entry));
  renderEvidence(state());
  paint();
}

function renderControls(entry) {
  const { threshold, sentences } = settings;
  $("threshold").value = threshold ?? 0.5;
  $("threshold-value").textContent = threshold?.toFixed(2) ?? t("ownValue");
  $("threshold-own").hidden = threshold === null;
  $("threshold").disabled = Boolean(entry.labels.topics);
  $("length").max = Math.max(1, entry.longest);
  $("length").value = sentences ?? view.keys(entry).length;
  $("length-value").textContent = sentences ?? t("autoValue", view.keys(entry).length);
  $("length-own").hidden = sentences === null;
  $("length").disabled = $("focus").disabled = Boolean(entry.labels.keys);
  const names = [...known.values()].map((topic) => [topic.id, topicName(topic, topic.id)]);
  options($("focus"), [["", t("whole")], ...names], entry.focus);
}

function paint() {
  const { entry } = page;
  const one = peeked ?? active;
  const proofs = (one ? [one] : view.shown(entry)).map((id) => ({
    id, name: topicName(known.get(id), id), place: entry.place(id), positions: entry.evidence(id),
  }));
  const keys = view.keys(entry);
  paintArticle(keys, proofs, marking(entry, keys));
}

function peek(id) {
  peeked = id;
  paint();
}

function choose(id) {
  active = id;
  peeked = null;
  pressTopic(active);
  renderEvidence(state());
  paint();
  $("spoken").textContent = active ? t("evidenceOf", topicName(known.get(active), active), page.entry.evidence(active).size) : "";
}

// ——— Controls

function slide(name, value) {
  settings[name] = value;
  refresh();
}
function reset(name, slider) {
  slide(name, null);
  slider.focus(); // the button that had it is gone
}
$("threshold").addEventListener("input", () => slide("threshold", $("threshold").valueAsNumber));
$("threshold-own").addEventListener("click", () => reset("threshold", $("threshold")));
$("length").addEventListener("input", () => slide("sentences", $("length").valueAsNumber));
$("length-own").addEventListener("click", () => reset("sentences", $("length")));
$("focus").addEventListener("change", () => {
  const { entry } = page;
  const focus = $("focus").value;
  attempt(async () => {
    const signal = replace();
    try {
      Object.assign(entry, { focused: focus ? await focusOn(entry, focus, signal) : null, focus });
    } finally {
      if (!signal.aborted) refresh(); // where it failed, the list goes back to what the summary is about
    }
  });
});

// Which sentences do not repeat one another is the service's to say.
async function focusOn(entry, focus, signal) {
  const { documents, errors } = await analyse(entry.source, view.limits, { focus, signal });
  signal.throwIfAborted();
  const found = documents.find(({ text }) => text === entry.analysis.text);
  if (!found) throw new Problem("document", errors[0]?.error ?? "its text was read differently this time");
  return found;
}
$("copy").addEventListener("click", async () => {
  await copy(view.keys(page.entry).map((i) => page.entry.sentences[i]).join("\n"));
  say(t("copied"));
});
$("print").addEventListener("click", () => window.print());
$("batch-stop").addEventListener("click", () => {
  stopBatch();
  refresh();
});
$("batch-csv").addEventListener("click", () => saveBatch("csv", view));
$("batch-jsonl").addEventListener("click", () => saveBatch("jsonl", view));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && active) choose(null);
});

// ——— Start

function start() {
  translate();
  $("language").textContent = language() === "zh" ? "English" : "中文";
  $("language").lang = language() === "zh" ? "en" : "zh-CN";
  refresh();
}
$("language").addEventListener("click", () => {
  switchLanguage();
  start();
});
takeInput({
  text: (text) => analyseOne({ text }, `page-${new Date().toISOString().slice(0, 19).replace(/\W/g, "")}`),
  files: (files) => {
    if (files.length) $("text").value = ""; // which would not be what is shown below
    if (files.length === 1) analyseOne({ file: files[0] }, files[0].name);
    else if (files.length) analyseMany(files);
  },
  clear: () => {
    replace();
    stopBatch();
    close();
    $("input").classList.remove("compact");
    $("problem").hidden = $("batch").hidden = true;
    say("");
  },
});
takeCorrections(page);
start();
offerSeeds().catch(() => {}); // a page without examples is a page still; the first analysis says what is wrong
