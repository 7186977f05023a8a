// The cleaned article: a paragraph a line, a span a sentence; evidence is marked, the summary's sentences underlined.

import { $, element, tint } from "./dom.js";
import { t } from "./texts.js";

let spans = [];

export function renderArticle(entry) {
  const paragraphs = [];
  let line = element("p", { role: "presentation" });
  const text = (gap) => {
    gap.split("\n").forEach((part, i) => {
      if (i) {
        if (line.hasChildNodes()) paragraphs.push(line);
        line = element("p", { role: "presentation" });
      }
      if (part) line.append(part);
    });
  };
  spans = entry.sentences.map((sentence, i) => {
    text(entry.gaps[i]);
    const span = element("span", { className: "s", textContent: sentence });
    span.dataset.i = i;
    line.append(span);
    return span;
  });
  text(entry.gaps.at(-1));
  if (line.hasChildNodes()) paragraphs.push(line);
  $("body").replaceChildren(...paragraphs);
  for (const span of spans) span.shown = "";
}

// Marks: `keys` positions; `proofs` lists of {id, name, place, positions}, the active one alone if one is active.
export function paintArticle(keys, proofs, marking) {
  const topics = new Map();
  for (const proof of proofs) for (const i of proof.positions) topics.set(i, [...(topics.get(i) ?? []), proof]);
  const summary = new Set(keys);
  spans.forEach((span, i) => {
    const proving = topics.get(i) ?? [];
    const state = `${summary.has(i)} ${proving.map((proof) => proof.id)} ${proving.map((proof) => proof.name)}`;
    if (span.shown === state) return;
    span.shown = state;
    span.classList.toggle("key", summary.has(i));
    const content = proving.length ? element("mark", { textContent: span.textContent }) : span.textContent;
    span.replaceChildren(content);
    span.title = proving.map((proof) => proof.name).join(" · ");
    if (!proving.length) return;
    tint(content, proving[0].place);
    content.dataset.topics = span.title;
    content.append(...proving.slice(1).map((proof) => tint(element("i", { className: "dot" }), proof.place))); // it proves these too
  });
  markable(marking);
}

// While labels are edited the article is a list box of sentences: one stop for Tab, arrow keys within.
function markable(marking) {
  const body = $("body");
  body.classList.toggle("marking", Boolean(marking));
  if (!marking) {
    if (body.role === "article") return;
    body.setAttribute("role", "article");
    body.removeAttribute("aria-multiselectable");
    for (const span of spans) for (const name of ["role", "tabindex", "aria-selected"]) span.removeAttribute(name);
    body.setAttribute("aria-label", t("article"));
    return;
  }
  body.setAttribute("role", "listbox");
  body.setAttribute("aria-multiselectable", "true");
  body.setAttribute("aria-label", t("markAs") + " " + marking.label);
  const current = spans.find((span) => span.tabIndex === 0) ?? spans[0];
  spans.forEach((span, i) => {
    span.setAttribute("role", "option");
    span.setAttribute("aria-selected", String(marking.positions.has(i)));
    span.tabIndex = span === current ? 0 : -1;
  });
}

export function onMark(toggle) {
  const body = $("body");
  body.addEventListener("click", (event) => {
    const span = event.target.closest(".s");
    if (span && body.role === "listbox" && window.getSelection().isCollapsed) toggle(Number(span.dataset.i));
  });
  body.addEventListener("keydown", (event) => {
    const i = spans.indexOf(document.activeElement);
    if (body.role !== "listbox" || i < 0) return;
    if (event.key === " " || event.key === "Enter") toggle(i);
    else {
      const to = { ArrowDown: i + 1, ArrowRight: i + 1, ArrowUp: i - 1, ArrowLeft: i - 1, Home: 0, End: spans.length - 1 }[event.key];
      if (to === undefined) return;
      if (spans[to]) {
        spans[i].tabIndex = -1;
        spans[to].tabIndex = 0;
        spans[to].focus();
      }
    }
    event.preventDefault();
  });
}

export function showSentence(i) {
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  spans[i].scrollIntoView({ block: "center", behavior: calm ? "auto" : "smooth" });
  spans[i].classList.remove("flash");
  void spans[i].offsetWidth; // restarts the animation
  spans[i].classList.add("flash");
}

export function renderRemoved(analysis, describe) {
  const [summary, list] = [$("removed").querySelector("summary"), $("removed").querySelector("ul")];
  summary.textContent = analysis.warnings.length ? t("removed") + analysis.warnings.map(describe).join(" · ") : t("nothingRemoved");
  list.replaceChildren(...analysis.removed.map((line) => element("li", { textContent: line })));
  $("removed").classList.toggle("empty", !analysis.removed.length);
}
