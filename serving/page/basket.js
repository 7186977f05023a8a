// The corrections of all documents on the page: download, storing in the service, Label Studio, and import.

import { ask, Problem } from "./api.js";
import { $, download } from "./dom.js";
import { jsonl, parseJsonl } from "./tables.js";
import { t } from "./texts.js";

const NO_TEXT = "no text";
const TOLD = 5; // refused rows that are named
const AROUND = 64; // bytes of a request beside its rows, and more
const corrected = new Set();
let saved = ""; // the rows as they were last downloaded or stored
let storing = null; // what is under way

export function note(entry) {
  if (entry.corrected) corrected.add(entry);
  else corrected.delete(entry);
}

const rows = () => [...corrected].map((entry) => entry.row());
export const unsaved = () => corrected.size > 0 && jsonl(rows()) !== saved;

export function renderBasket(stores, any) {
  $("correct-count").textContent = t("count", corrected.size);
  $("save-rows").disabled = !corrected.size;
  $("store-rows").disabled = !corrected.size;
  $("store-rows").hidden = !stores;
  $("save-tasks").disabled = $("save-config").disabled = !any && !corrected.size;
}

export function saveRows() {
  saved = jsonl(rows());
  download("corrections.jsonl", saved, "application/jsonl");
}

// Only what has changed since it was last stored; returns how many rows that were. Asked for twice at once, it stores once.
export function storeRows(limits) {
  storing ??= store(limits).finally(() => (storing = null));
  return storing;
}

async function store(limits) {
  const all = jsonl(rows()); // as they are now: they may change while the service is asked
  const each = [...corrected].map((entry) => ({ entry, row: entry.row() }));
  const changed = each.filter(({ entry, row }) => entry.stored !== JSON.stringify(row));
  const refused = [];
  for (const some of requests(changed, ({ row }) => row, limits)) refused.push(...(await send(some)));
  if (refused.length) throw new Problem(422, t("refused", changed.length - refused.length, refused.length) + refused.slice(0, TOLD).join(" "));
  saved = all;
  return changed.length;
}

// Store some; what is wrong with those that the service refuses. It takes all rows of a request or none, so that one alone is told
// from those beside it by sending each by itself.
async function send(some) {
  try {
    await ask("v1/corrections", { body: { rows: some.map(({ row }) => row) } });
  } catch (error) {
    if (error.status !== 422) throw error;
    if (some.length === 1) return [`${some[0].row.id}: ${error.message}`];
    const refused = [];
    for (const one of some) refused.push(...(await send([one])));
    return refused;
  }
  for (const { entry, row } of some) entry.stored = JSON.stringify(row);
  return [];
}

// As many at once as the service takes, by number and by bytes of their JSON.
function* requests(items, json, limits) {
  const encoder = new TextEncoder();
  let some = [];
  let bytes = 0;
  for (const item of items) {
    const more = encoder.encode(JSON.stringify(json(item))).length + 1;
    if (some.length && (some.length === limits.max_documents || bytes + more > limits.max_request_bytes - AROUND)) {
      yield some;
      [some, bytes] = [[], 0];
    }
    some.push(item);
    bytes += more;
  }
  if (some.length) yield some;
}

// Corrected documents become annotations, the others predictions. `result` gives an entry's JSON.
export async function saveTasks(entries, result, limits, what) {
  const all = [...new Set([...entries.filter((entry) => entry.analysis), ...corrected])];
  const tasks = [];
  let config = "";
  const each = all.map((entry) => (entry.corrected ? entry.row() : result(entry)));
  for (const documents of requests(each, (document) => document, limits)) {
    const answer = await ask("v1/label-studio/export", { body: { documents } });
    tasks.push(...answer.tasks);
    config = answer.config;
  }
  if (what === "config") download("label-studio.xml", config, "application/xml");
  else download("label-studio.json", JSON.stringify(tasks, null, 1), "application/json");
}

// {rows, errors} of a file: training rows, or Label Studio's export.
export async function readLabels(file) {
  const text = await file.text();
  let found;
  try {
    found = JSON.parse(text);
  } catch {
    try {
      found = parseJsonl(text);
    } catch {
      throw new Error(t("badImport"));
    }
  }
  found = Array.isArray(found) ? found : [found];
  if (found.length && found.every((item) => item?.data)) return ask("v1/label-studio/import", { body: { tasks: found } });
  const good = [];
  const errors = [];
  found.forEach((row, i) => {
    try {
      good.push(asTrained(row));
    } catch (error) {
      errors.push({ id: String(i + 1), error: error.message });
    }
  });
  if (!good.length && errors.every(({ error }) => error === NO_TEXT)) throw new Error(t("badImport"));
  return { rows: good, errors };
}

// A row with its fields as training reads them: lists may be strings, `labels` is another name of `topics`.
function asTrained(row) {
  if (typeof row?.text !== "string" || !row.text.trim()) throw new Error(NO_TEXT);
  const given = row.topics ?? row.labels;
  const topics = "guess" in row && given === "" ? null : strings("topics", given, ["|", ";", "；"]);
  const keys = strings("key_sentences", row.key_sentences, ["|", "\n"])?.filter(Boolean);
  const proofs = typeof row.evidence === "string" ? parsed("evidence", row.evidence.trim() || "{}") : row.evidence ?? {};
  if (typeof proofs !== "object" || Array.isArray(proofs)) throw new Error("'evidence' must be an object of topics");
  const evidence = Object.entries(proofs).flatMap(([topic, marked]) =>
    marked === null ? [] : [[topic.trim(), strings("evidence", marked, ["\n"])]]);
  return {
    ...row, id: typeof row.id === "number" ? String(row.id) : row.id, topics,
    key_sentences: keys?.length ? keys : null, evidence: Object.fromEntries(evidence),
  };
}

function strings(name, value, separators) {
  if (value === null || value === undefined) return null;
  if (typeof value === "string") {
    const text = value.trim();
    const separator = separators.find((one) => text.includes(one)) ?? separators[0];
    value = /^\[[^]*\]$/.test(text) ? parsed(name, text) : text.split(separator).filter((part) => part.trim());
  }
  if (!Array.isArray(value) || value.some((item) => typeof item !== "string")) throw new Error(`'${name}' must be a list of strings`);
  return [...new Set(value.map((item) => item.trim()))];
}

function parsed(name, text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`'${name}' is no JSON`);
  }
}
