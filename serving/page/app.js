"use strict";
// Offsets count Unicode code points, so the text is handled as an array of them, not of UTF-16 units.
const $ = (id) => document.getElementById(id);
let current = null;

$("file").addEventListener("change", async () => {
  const file = $("file").files[0];
  if (file) await send("v1/files", () => { const data = new FormData(); data.append("files", file); data.append("options", JSON.stringify(options())); return { method: "POST", body: data }; });
});

$("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = { documents: [{ text: $("text").value }], ...options() };
  await send("v1/analyze", () => ({ method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }));
});

function options() {
  const sentences = $("sentences").valueAsNumber;
  return { include_text: true, ...(Number.isInteger(sentences) ? { max_sentences: sentences } : {}) };
}

async function send(address, request) {
  const button = $("form").querySelector("button");
  button.disabled = true;
  say("分析中……");
  try {
    const response = await fetch(address, request());
    const answer = await response.json();
    if (!response.ok) return say(answer.error, true);
    if (!answer.documents.length) return say(answer.errors[0].error, true);
    say("");
    show(answer.documents[0]);
  } catch (error) {
    say("服务没有应答：" + error.message, true);
  } finally {
    button.disabled = false;
  }
}

function say(text, isError = false) {
  $("status").textContent = text;
  $("status").className = isError ? "error" : "";
  if (isError) $("result").hidden = true;
}

function show(analysis) {
  current = analysis;
  $("result").hidden = false;
  $("title").textContent = analysis.title;
  $("topics").replaceChildren(...analysis.topics.map(topicItem));
  if (!analysis.topics.length) $("topics").append(element("li", "没有一个主题达到阈值"));
  $("summary").replaceChildren(...analysis.summary.sentences.map((s) => element("li", s.text)));
  $("warnings").replaceChildren(element("li", "模型 " + analysis.model), ...analysis.warnings.map((w) => element("li", w)));
  paint([]);
}

function topicItem(topic) {
  const button = element("button", "");
  button.type = "button";
  button.className = "topic";
  button.setAttribute("aria-pressed", "false");
  const score = element("span", topic.score.toFixed(2));
  score.className = "score";
  button.append(score, element("b", topic.name), ...topic.evidence.slice(0, 1).map((e) => element("q", e.text)));
  button.addEventListener("click", () => {
    const chosen = button.getAttribute("aria-pressed") !== "true";
    for (const other of $("topics").querySelectorAll("button")) other.setAttribute("aria-pressed", "false");
    button.setAttribute("aria-pressed", String(chosen));
    paint(chosen ? topic.evidence : []);
    $("body").querySelector("mark")?.scrollIntoView({ block: "center", behavior: "smooth" });
  });
  const item = element("li", "");
  item.append(button);
  return item;
}

function paint(evidence) {
  const points = Array.from(current.text);
  const kind = new Uint8Array(points.length);
  for (const s of current.summary.sentences) kind.fill(1, s.offset, s.offset + s.length);
  for (const e of evidence) for (let i = e.offset; i < e.offset + e.length; i++) kind[i] |= 2;
  const parts = [];
  for (let start = 0; start < points.length; ) {
    let end = start;
    while (end < points.length && kind[end] === kind[start]) end++;
    const node = element(kind[start] & 2 ? "mark" : "span", points.slice(start, end).join(""));
    if (kind[start] & 1) node.classList.add("in-summary");
    parts.push(node);
    start = end;
  }
  $("body").replaceChildren(...parts);
}

function element(name, text) {
  const node = document.createElement(name);
  node.textContent = text;
  return node;
}
