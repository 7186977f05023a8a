// Corrections: what the reader changes on the document that is shown, and what happens to all that was corrected.

import { onMark } from "./article.js";
import { attempt, replace } from "./attempt.js";
import { note, readLabels, renderBasket, saveRows, saveTasks, storeRows, unsaved } from "./basket.js";
import { asResult, batchEntries, runBatch } from "./batch.js";
import { $, options } from "./dom.js";
import { t, topicName } from "./texts.js";

export const labelling = { editing: false };

// page: {entry, view, show(entry), refresh(), choose(topic), ready()}
export function takeCorrections(page) {
  const { view } = page;
  const edit = (change) => (...values) => {
    const item = document.activeElement?.closest("#topics li");
    const position = item ? [...item.parentNode.children].indexOf(item) : -1;
    change(...values);
    note(page.entry);
    page.refresh();
    // The chip that had the focus is gone: the next one has it.
    if (position >= 0) ($("topics").children[position]?.querySelector("button:last-child") ?? $("add-topic")).focus();
  };
  labelling.remove = edit((id) => page.entry.toggleTopic(id, view.shown(page.entry), view.single));
  onMark(edit((i) => {
    const topic = $("mark-as").value;
    if (topic) page.entry.toggleEvidence(topic, i, view.shown(page.entry));
    else page.entry.toggleKey(i, view.keys(page.entry));
  }));
  $("correct-toggle").addEventListener("click", () => {
    labelling.editing = !labelling.editing;
    page.refresh();
  });
  $("confirm").addEventListener("click", edit(() => page.entry.confirm(view.shown(page.entry), view.keys(page.entry))));
  $("undo").addEventListener("click", () => {
    edit(() => page.entry.forget())();
    $("correct-toggle").focus();
  });
  $("add-topic").addEventListener("change", edit(() => {
    if ($("add-topic").value) page.entry.toggleTopic($("add-topic").value, view.shown(page.entry), view.single);
  }));
  $("mark-as").addEventListener("change", () => page.choose($("mark-as").value || null));

  const exchange = (action) => () => attempt(async () => {
    await page.ready();
    return action();
  });
  const onPage = () => [...new Set([...batchEntries(), ...(page.entry ? [page.entry] : [])])];
  const toLabelStudio = (what) => exchange(() => saveTasks(onPage(), (entry) => asResult(entry, view), view.limits, what));
  $("save-rows").addEventListener("click", saveRows);
  $("store-rows").addEventListener("click", exchange(async () => t("stored", await storeRows(view.limits))));
  $("save-tasks").addEventListener("click", toLabelStudio("tasks"));
  $("save-config").addEventListener("click", toLabelStudio("config"));
  $("import").addEventListener("change", () => {
    const [file] = $("import").files;
    $("import").value = ""; // so that the same file can be chosen again
    if (file) exchange(() => importLabels(file, page))();
  });
  window.addEventListener("beforeunload", (event) => {
    if (unsaved()) event.preventDefault();
  });
}

async function importLabels(file, page) {
  const signal = replace();
  const { rows, errors } = await readLabels(file);
  signal.throwIfAborted();
  await runBatch(rows.map((row) => ({ id: row.id || "", text: row.text, title: row.title || "", row })), page.view);
  const first = batchEntries().find((entry) => entry.analysis);
  if (first && !signal.aborted) page.show(first);
  return [t("imported", rows.length, errors.length), ...errors.slice(0, 5).map(({ id, error }) => `${id}: ${error}`)].join(" ");
}

export function renderLabelling({ entry, view, stores }) {
  renderBasket(stores, entry || batchEntries().length);
  if (!entry) return;
  const shown = view.shown(entry);
  const names = [...view.known.values()].map((topic) => [topic.id, topicName(topic, topic.id)]);
  options($("add-topic"), [["", t("choose")], ...names.filter(([id]) => !shown.includes(id))], "");
  const proofs = names.filter(([id]) => shown.includes(id)).map(([id, name]) => [id, t("proofOf", name)]);
  options($("mark-as"), [["", t("keySentence")], ...proofs], $("mark-as").value);
  const { topics, keys, evidence } = entry.labels;
  const parts = [topics && "stateTopics", keys && "stateKeys", evidence.size && "stateEvidence"].filter(Boolean);
  $("correct-state").textContent = parts.length ? t("state", parts.map((part) => t(part))) : "";
  $("undo").hidden = !parts.length;
  $("correct-tools").hidden = !labelling.editing;
  $("result").classList.toggle("editing", labelling.editing);
  $("correct-toggle").setAttribute("aria-pressed", String(labelling.editing));
}

// What a choice in the article marks now: for the list box, null while nothing is edited.
export function marking(entry, keys) {
  if (!labelling.editing) return null;
  const topic = $("mark-as").value;
  return { label: $("mark-as").selectedOptions[0].textContent, positions: topic ? entry.evidence(topic) : new Set(keys) };
}
