"use strict";
// Offsets count Unicode code points, so the text is handled as an array of them, not of UTF-16 units.
const $ = (id) => document.getElementById(id);
let current = null;

$("file").addEventListener("change", async () => {
  const file = $("file").files[0];
  if (!file) return;
  const body = new FormData();
  body.append("files", file);
  body.append("options", JSON.stringify(options()));
  await send("v1/files", { body });
  $("file").value = ""; // so that the same file can be chosen again
});

$("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = { documents: [{ text: $("text").value }], ...options() };
  await send("v1/analyze", { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
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
    const key = $("key").value;
    const headers = { ...request.headers, ...(key ? { Authorization: "Bearer " + key } : {}) };
    const response = await fetch(address, { method: "POST", ...request, headers });
    const answer = await response.json();
    if (response.status === 401) $("key-row").hidden = false;
    if (!response.ok) return say(explain(response.status, answer.error), true);
    if (!answer.documents.length) return say(explain(200, answer.errors[0].error), true);
    say("");
    show(answer.documents[0]);
  } catch (error) {
    say("服务没有应答：" + error.message, true);
  } finally {
    button.disabled = false;
  }
}

// The service speaks English; the reader of this page gets a Chinese sentence first.
const REASONS = {
  200: "这篇文档无法分析",
  401: "服务需要密钥，请在下面填写后重试",
  413: "内容太大，请分开提交",
  422: "请求有误",
  429: "服务正忙，请稍后再试",
  504: "分析超时，请分开提交",
};

function explain(status, error) {
  return (REASONS[status] || "请求失败") + "（" + error + "）";
}

function say(text, isError = false) {
  $("status").textContent = text;
  $("status").className = isError ? "error" : "";
  if (isError) $("result").hidden = true;
}

function show(analysis) {
  current = analysis;
  $("result").hidden = false;
  $("title").textContent = analysis.title || "（无标题）";
  $("topics").replaceChildren(...analysis.topics.map(topicItem));
  if (!analysis.topics.length) $("topics").append(element("li", "没有主题达到阈值。"));
  $("summary").replaceChildren(...analysis.summary.sentences.map((s) => element("li", s.text)));
  $("warnings").replaceChildren(element("li", "模型 " + analysis.model), ...analysis.warnings.map((w) => element("li", w)));
  paint([]);
  $("result").scrollIntoView({ block: "start", behavior: "smooth" });
}

function topicItem(topic) {
  const button = element("button", "");
  button.type = "button";
  button.className = "topic";
  button.setAttribute("aria-pressed", "false");
  const score = element("span", topic.score.toFixed(2));
  score.className = "score";
  button.append(element("b", topic.name), score, ...topic.evidence.slice(0, 1).map((e) => element("q", e.text)));
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
