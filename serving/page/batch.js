// Several documents at once: a table that fills as answers come, and its download.

import { analysePatiently } from "./api.js";
import { $, button, download, element } from "./dom.js";
import { Entry } from "./entry.js";
import { csv, jsonl } from "./tables.js";
import { explain, t, topicName } from "./texts.js";

const AT_ONCE = 2; // requests under way; the service batches what comes together
let controller = null;
let entries = [];

export const batchEntries = () => entries;

// sources: [{file} or {id, text, title, row}]; view: {limits, ready(model), shown(entry), keys(entry), known, open(entry), arrived(entry)}
export async function runBatch(sources, view) {
  controller?.abort();
  controller = new AbortController();
  const { signal } = controller;
  entries = sources.map((source, i) => new Entry(source, source.file?.name ?? (source.id || String(i))));
  $("batch").hidden = false;
  $("batch-stop").hidden = false;
  renderBatch(view);
  const waiting = [...entries];
  const work = async () => {
    for (let entry = waiting.shift(); entry && !signal.aborted; entry = waiting.shift()) {
      try {
        const answer = await analysePatiently(entry.source, view.limits, { signal });
        await view.ready(answer.documents[0]?.model);
        arrive(entry, answer, view);
      } catch (error) {
        if (signal.aborted) return;
        entry.problem = error;
        if (error.status === 401 || error.status === 0) { // the same for all the others
          controller.abort();
          throw error;
        }
      }
      settle(entry, view);
    }
  };
  try {
    await Promise.all(Array.from({ length: AT_ONCE }, work));
  } finally {
    if (controller.signal === signal) {
      stopBatch();
      renderBatch(view); // without what was not sent
    }
  }
}

export function stopBatch() {
  controller?.abort();
  $("batch-stop").hidden = true;
  entries = entries.filter((entry) => entry.analysis || entry.problem);
}

// One upload may hold many documents (a zip, a mail with attachments), which take its place.
function arrive(entry, { documents, errors }, view) {
  if (documents.length + errors.length > 1) {
    entries.splice(entries.indexOf(entry), 1, ...inside(documents, errors));
  } else if (errors.length) {
    entry.problem = { status: "document", message: errors[0].error };
  } else {
    entry.set(documents[0]);
    view.arrived(entry);
  }
}

function inside(documents, errors) {
  return [...documents, ...errors].map((found) => {
    const entry = new Entry({ text: found.text, title: found.title, format: "text" }, found.id);
    if (found.error) entry.problem = { status: "document", message: found.error };
    else entry.set(found);
    return entry;
  });
}

export function showBatch(documents, errors, view) {
  stopBatch();
  entries = inside(documents, errors);
  $("batch").hidden = false;
  renderBatch(view);
}

export function renderBatch(view) {
  $("batch-table").tBodies[0].replaceChildren(...entries.map((entry) => (entry.node = row(entry, view))));
  count();
}

function settle(entry, view) {
  if (!entries.includes(entry)) return renderBatch(view); // others took its place
  entry.node.replaceWith((entry.node = row(entry, view)));
  count();
}

function count() {
  const settled = entries.filter((entry) => entry.analysis || entry.problem).length;
  const bad = entries.filter((entry) => entry.problem).length;
  Object.assign($("batch-progress"), { max: entries.length, value: settled });
  $("batch-progress").hidden = settled === entries.length;
  $("batch-count").textContent = t("batchCount", settled, entries.length, bad);
}

function row(entry, view) {
  if (entry.problem) {
    const [heading, advice] = explain(entry.problem);
    const cell = element("td", { colSpan: 3, className: "error", textContent: `${heading}：${advice}` });
    return element("tr", {}, element("th", { scope: "row", textContent: entry.name }), cell);
  }
  if (!entry.analysis) {
    const cell = element("td", { colSpan: 3, className: "hint", textContent: t("waiting") });
    return element("tr", {}, element("th", { scope: "row", textContent: entry.name }), cell);
  }
  const open = button(entry.title || entry.name, () => view.open(entry), { className: "quote" });
  const head = element("th", { scope: "row" }, open);
  if (entry.title) head.append(element("small", { textContent: entry.name }));
  const topics = view.shown(entry).map((id) => topicName(view.known.get(id), id)).join(" · ") || "—";
  const node = element(
    "tr", {}, head, element("td", { textContent: topics }),
    element("td", { className: "wide" }, element("div", { textContent: view.keys(entry).map((i) => entry.sentences[i]).join("") })),
    element("td", { className: "number", textContent: entry.characters }),
  );
  if (entry === view.current()) node.setAttribute("aria-current", "true");
  return node;
}

// The service's JSON of an entry as it is shown: with the chosen threshold, summary length and corrections.
export function asResult(entry, view) {
  const { id, title, warnings, model, text } = entry.analysis;
  const quote = (i) => {
    const { offset, length, rank_score } = entry.analysis.sentences[i];
    return { text: entry.sentences[i], offset, length, rank_score };
  };
  const found = view.shown(entry).map((topic) => entry.scores.get(topic)).filter(Boolean);
  const sentences = view.keys(entry).map(quote);
  const summary = { text: sentences.map((s) => s.text).join("\n"), sentences };
  return { id: entry.origin?.id || entry.name || id, title, topics: found, summary, warnings, model, text };
}

export function saveBatch(kind, view) {
  if (kind === "jsonl") {
    const rows = entries.map((e) => (e.analysis ? asResult(e, view) : { id: e.name, error: e.problem?.message ?? "" }));
    return download("wenzhai.jsonl", jsonl(rows), "application/jsonl");
  }
  const names = t("column");
  const rows = entries.map((entry) => {
    if (!entry.analysis) return [entry.name, "", "", "", "", "", "", entry.problem?.message ?? "", ""];
    const { id, title, topics, summary, model } = asResult(entry, view);
    const each = (value) => topics.map(value).join("; ");
    return [
      id, title, each((topic) => topicName(view.known.get(topic.id), topic.id)), each((topic) => topic.id),
      each((topic) => topic.score), summary.text, entry.characters, "", model,
    ];
  });
  const header = ["id", "title", "topics", "topic_ids", "scores", "summary", "characters", "error", "model"].map((name) => names[name]);
  return download("wenzhai.csv", csv(header, rows), "text/csv;charset=utf-8");
}
