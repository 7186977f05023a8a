// Topics as chips, their evidence as a list, and the summary as a block.

import { showSentence } from "./article.js";
import { $, button, element, tint } from "./dom.js";
import { t, topicName } from "./texts.js";

// Down, so that what is not certain does not read 1.00.
const rounded = (score) => (Math.floor(score * 100) / 100).toFixed(2);

// state: {entry, shown, active, known, editing}; on: {peek, pin, remove, add}
export function renderTopics(state, on) {
  const chip = (id) => element("li", {}, chipButton(state, on, id), ...(state.editing ? [removeButton(state, on, id)] : []));
  $("topics").replaceChildren(...state.shown.map(chip));
  if (!state.shown.length) $("topics").append(element("li", { className: "hint", textContent: t("noTopics") }));
  const rest = state.entry.analysis.topics.map((topic) => topic.id).filter((id) => !state.shown.includes(id));
  $("others").hidden = !rest.length;
  $("others").querySelector("summary").textContent = t("others", rest.length);
  $("others").querySelector("ul").replaceChildren(...rest.map((id) => element("li", {}, chipButton(state, on, id))));
}

function chipButton(state, on, id) {
  const score = state.entry.scores.get(id)?.score;
  const node = button("", () => on.pin(id), { className: "chip", "aria-pressed": String(state.active === id), title: id });
  node.dataset.topic = id;
  tint(node, state.entry.place(id));
  node.append(element("span", { className: "name", textContent: topicName(state.known.get(id), id) }));
  if (score !== undefined) node.append(element("span", { className: "score", textContent: rounded(score) }));
  node.addEventListener("pointerenter", () => on.peek(id));
  node.addEventListener("pointerleave", () => on.peek(null));
  node.addEventListener("focus", () => on.peek(id));
  node.addEventListener("blur", () => on.peek(null));
  return node;
}

function removeButton(state, on, id) {
  const name = t("takeAway", topicName(state.known.get(id), id));
  return button("✕", () => on.remove(id), { className: "remove", "aria-label": name, title: name });
}

export function pressTopic(active) {
  for (const node of document.querySelectorAll(".chip")) node.setAttribute("aria-pressed", String(node.dataset.topic === active));
}

export function renderEvidence(state) {
  const { entry, active } = state;
  $("evidence").hidden = !active;
  if (!active) return;
  const scores = new Map(entry.scores.get(active)?.evidence.map((quote) => [entry.position(quote), quote.score]) ?? []);
  const positions = [...entry.evidence(active)].sort((a, b) => (scores.get(b) ?? 1) - (scores.get(a) ?? 1));
  const heading = element("h4", { textContent: t("evidenceOf", topicName(state.known.get(active), active), positions.length) });
  const items = positions.map((i) => {
    const quote = button("", () => showSentence(i), { className: "quote" });
    quote.append(entry.sentences[i]);
    if (scores.has(i)) quote.append(element("span", { className: "score", textContent: rounded(scores.get(i)) }));
    return element("li", {}, quote);
  });
  tint($("evidence"), entry.place(active));
  const list = positions.length ? element("ul", {}, ...items) : element("p", { className: "hint", textContent: t("noEvidence") });
  $("evidence").replaceChildren(heading, list);
}

export function renderSummary(entry, keys) {
  const items = keys.map((i) => element("li", {}, button(entry.sentences[i], () => showSentence(i), { className: "quote" })));
  $("summary").replaceChildren(...items);
  const characters = keys.reduce((sum, i) => sum + Array.from(entry.sentences[i]).length, 0);
  $("summary-size").textContent = t("size", keys.length, characters);
}
