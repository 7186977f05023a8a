// How documents come in: typed, pasted, dropped, chosen, or one of the examples.

import { ask, Problem } from "./api.js";
import { attempt, replace, say } from "./attempt.js";
import { $, button, element } from "./dom.js";
import { t } from "./texts.js";

// on: {text(text), files(files), clear()}
export function takeInput(on) {
  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    if ($("text").value.trim()) on.text($("text").value);
    else say(t("emptyInput"));
  });
  $("text").addEventListener("paste", (event) => {
    const { files } = event.clipboardData;
    if (files.length) {
      event.preventDefault();
      on.files([...files]);
    } else if (!$("text").value) setTimeout(() => $("form").requestSubmit()); // once the text is there
  });
  $("file").addEventListener("change", () => {
    on.files([...$("file").files]);
    $("file").value = ""; // so that the same file can be chosen again
  });
  for (const kind of ["dragenter", "dragover"]) document.addEventListener(kind, (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    $("drop").classList.add("dragged");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) $("drop").classList.remove("dragged");
  });
  document.addEventListener("drop", (event) => {
    $("drop").classList.remove("dragged");
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    on.files([...event.dataTransfer.files]);
  });
  $("clear").addEventListener("click", () => {
    $("text").value = "";
    on.clear();
    $("text").focus();
  });
}

export async function offerSeeds() {
  const { seeds } = await ask("seeds");
  const label = element("span", { className: "hint", textContent: t("seedsLabel") });
  label.dataset.t = "seedsLabel";
  $("seeds").replaceChildren(label, ...seeds.map(({ name, title }) => button(title, () => attempt(async () => {
    const signal = replace();
    const response = await fetch("seeds/" + encodeURIComponent(name), { signal });
    if (!response.ok) throw new Problem(response.status, name);
    const text = await response.text();
    signal.throwIfAborted();
    $("text").value = text;
    $("form").requestSubmit();
  }), { title, lang: "zh" })));
  $("seeds").hidden = !seeds.length;
}
