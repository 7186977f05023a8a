// The corrections of all documents on the page: download, storing in the service, Label Studio, and import.

import { ask } from "./api.js";
import { $, download } from "./dom.js";
import { jsonl, parseJsonl } from "./tables.js";
import { t } from "./texts.js";

const corrected = new Set();
let saved = ""; // the rows as they were last downloaded or stored

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

// Only what has changed since it was last stored; returns how many rows that were.
export async function storeRows(limits) {
  const changed = [...corrected].filter((entry) => entry.stored !== JSON.stringify(entry.row()));
  for (let at = 0; at < changed.length; at += limits.max_documents) {
    const some = changed.slice(at, at + limits.max_documents);
    await ask("v1/corrections", { body: { rows: some.map((entry) => entry.row()) } });
    for (const entry of some) entry.stored = JSON.stringify(entry.row());
  }
  saved = jsonl(rows());
  return changed.length;
}

// Corrected documents become annotations, the others predictions. `result` gives an entry's JSON.
export async function saveTasks(entries, result, limits, what) {
  const all = [...new Set([...entries.filter((entry) => entry.analysis), ...corrected])];
  const tasks = [];
  let config = "";
  for (let at = 0; at < all.length; at += limits.max_documents) {
    const documents = all.slice(at, at + limits.max_documents).map((entry) => (entry.corrected ? entry.row() : result(entry)));
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
  const good = found.filter((row) => typeof row?.text === "string" && row.text.trim());
  if (!good.length) throw new Error(t("badImport"));
  return { rows: good, errors: found.flatMap((row, i) => (good.includes(row) ? [] : [{ id: String(i + 1), error: "no text" }])) };
}
