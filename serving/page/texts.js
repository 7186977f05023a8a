// What the page says, in Chinese and in English, and what the service's kinds and statuses are called.

import { storage } from "./dom.js";

const ZH = {
  lead: "贴入或打开一篇文档，立即得到清理后的正文、主题与依据句，以及由原句组成的摘要。",
  input: "输入", document: "文档", analyse: "分析", openFiles: "打开文件……", clear: "清空", retry: "重试", stop: "停止",
  placeholder: "把网页、公众号文章或政策原文贴在这里，也可以把文件拖进来",
  dropHere: "松开即可打开",
  kinds: "文本、HTML、Markdown、PDF、DOCX、邮件、zip，可多选",
  seeds: "示例文档", seedsLabel: "试试：",
  key: "服务密钥", useKey: "使用", keyHint: "只保留在这个标签页里",
  batch: "批量结果", batchProgress: "进度", csv: "下载 CSV", jsonl: "下载 JSONL",
  batchCount: (done, all, bad) => `${done} / ${all} 篇` + (bad ? `，${bad} 篇未成` : ""),
  columnDocument: "文档", columnLength: "字数", waiting: "等待中……",
  print: "打印", findings: "主题与摘要", topics: "主题", summary: "摘要", article: "清理后的正文",
  noTopics: "没有主题达到阈值。", untitled: "（无标题）",
  evidenceOf: (topic, n) => `“${topic}”的依据句（${n}）`, noEvidence: "没有依据句。",
  others: (n) => `未达阈值的主题（${n}）`,
  threshold: "阈值", own: "复位", ownValue: "各主题自己的", length: "摘要句数", auto: "复位", autoValue: (n) => `自动（${n}）`,
  focus: "摘要围绕", whole: "整篇", copy: "复制摘要", copied: "已复制。", size: (n, c) => `${n} 句，${c} 字`,
  correct: "修改标签", confirm: "确认无误", undo: "撤销更正",
  addTopic: "添加主题", choose: "请选择", markAs: "点选句子标为", keySentence: "关键句", proofOf: (topic) => `依据：${topic}`,
  markHint: "在正文中点击句子，或用方向键移动、按空格键标记；再次即取消。",
  takeAway: (topic) => `去掉主题“${topic}”`,
  state: (parts) => `这一篇已标注：${parts.join("、")}。`,
  stateTopics: "主题", stateKeys: "关键句", stateEvidence: "依据",
  count: (n) => `共更正 ${n} 篇`, saveRows: "下载训练数据（JSONL）", storeRows: "存到服务",
  saveTasks: "Label Studio 任务", saveConfig: "Label Studio 配置", stored: (n) => `已存 ${n} 篇。`,
  refused: (n, bad) => `已存 ${n} 篇，${bad} 篇服务未收：`,
  exchange: "更正与 Label Studio",
  import: "导入标注……", importHint: "训练数据（JSONL）或 Label Studio 导出的 JSON",
  imported: (n, bad) => `已导入 ${n} 篇` + (bad ? `，${bad} 篇无法使用：` : "。"),
  badImport: "这不是训练数据（JSONL），也不是 Label Studio 的任务（JSON）。",
  leave: "更正还没有下载。",
  legendEvidence: "依据句", legendKey: "摘要句",
  removed: "阅读时去掉的内容：", nothingRemoved: "阅读时没有去掉任何内容。",
  openapi: "接口说明（OpenAPI）", topicTable: "主题表", limits: "限额与版本",
  working: "分析中……", done: (topics, sentences) => `分析完成：${topics} 个主题，摘要 ${sentences} 句。`,
  meta: (c, s, model) => `${c} 字，${s} 句 · 模型 ${model}`,
  emptyInput: "请先贴入文档，或打开文件。",
  column: { id: "编号", title: "标题", topics: "主题", topic_ids: "主题代号", scores: "分数", summary: "摘要", characters: "字数", error: "错误", model: "模型" },
  problem: {
    0: ["服务没有应答", "请检查服务是否在运行，然后重试。文档还在这里。"],
    document: ["这篇文档无法分析", ""],
    401: ["服务需要密钥", "请在上面填写密钥。"],
    413: ["内容太大", "请分开提交，或使用批量命令。"],
    422: ["请求有误", ""],
    429: ["服务正忙", "请稍候再试；批量处理会自动等待。"],
    503: ["服务暂时不可用", "请稍候再试。"],
    504: ["分析超时", "请分成几篇提交。"],
    other: ["请求失败", "请重试；如果仍然失败，请查看服务的日志。"],
  },
  reason: [
    [/browser can't open/, "浏览器打不开它：这是文件夹，或文件已被移动、改动，请重新选择。"],
    [/read differently/, "这次读出的正文不同，请重新打开原文件。"],
    [/longer than (\d+) characters/, "文档超过 $1 字，请拆开。"],
    [/larger than (\d+) bytes|more than (\d+) bytes/, "文件太大，请拆开。"],
    [/has no text, only pictures/, "PDF 里只有图片，请先做文字识别（OCR）。"],
    [/has no text/, "除去导航和标记之后，没有可读的正文。"],
    [/encrypted/, "文件有密码，请去掉密码后再提交。"],
    [/damaged|can't be read|not a (?:PDF|DOCX|mail)/, "文件已损坏，或不是它的后缀所说的格式。"],
    [/old Office file|not a kind of document|not text/, "不支持这种格式，请另存为 DOCX、PDF 或文本。"],
    [/can't be decoded|wrong encoding|byte order mark/, "无法识别编码，请另存为 UTF-8。"],
    [/longer than .* s to read/, "阅读时间过长，请拆开，或另存为文本。"],
  ],
  kind: {
    adverts: "广告", buttons: "按钮", comments: "注释", contents_lines: "目录行", control_characters: "控制字符", copyright: "版权声明",
    end_marks: "文末标记", footnote_marks: "脚注标记", front_matter: "文件头", hidden: "隐藏内容", images: "图片", links: "链接",
    navigation: "导航", page_footers: "页脚", page_headers: "页眉", page_lines: "正文以外的行", page_numbers: "页码", quotations: "引用的邮件",
    readings: "注音", related_links: "相关链接", scripts: "脚本与样式", signatures: "签名", source_lines: "来源与署名", stock_charts: "股票图",
    table_bars: "表格线", templates: "模板标记", undecodable_characters: "无法解码的字符", watermark_lines: "水印",
    damaged_pages: "损坏的页（未读）", pages_without_text: "没有文字的页（未读）",
  },
};

const EN = {
  lead: "Paste or open a document: the cleaned article, its topics with the sentences that prove them, and a summary of its own sentences.",
  input: "Input", document: "Document", analyse: "Analyse", openFiles: "Open files…", clear: "Clear", retry: "Try again", stop: "Stop",
  placeholder: "Paste a web page or an article here, or drop files",
  dropHere: "Drop to open",
  kinds: "Text, HTML, Markdown, PDF, DOCX, mail, zip; several at once",
  seeds: "Examples", seedsLabel: "Try:",
  key: "Service key", useKey: "Use", keyHint: "kept for this tab only",
  batch: "Batch", batchProgress: "Progress", csv: "Download CSV", jsonl: "Download JSONL",
  batchCount: (done, all, bad) => `${done} of ${all} documents` + (bad ? `, ${bad} failed` : ""),
  columnDocument: "Document", columnLength: "Characters", waiting: "Waiting…",
  print: "Print", findings: "Topics and summary", topics: "Topics", summary: "Summary", article: "Cleaned article",
  noTopics: "No topic reaches the threshold.", untitled: "(untitled)",
  evidenceOf: (topic, n) => `Evidence of “${topic}” (${n})`, noEvidence: "There is no evidence.",
  others: (n) => `Topics below the threshold (${n})`,
  threshold: "Threshold", own: "Reset", ownValue: "each topic's own", length: "Summary sentences", auto: "Reset", autoValue: (n) => `automatic (${n})`,
  focus: "Summary about", whole: "all of it", copy: "Copy summary", copied: "Copied.", size: (n, c) => `${n} sentences, ${c} characters`,
  correct: "Edit labels", confirm: "All correct", undo: "Undo",
  addTopic: "Add a topic", choose: "choose", markAs: "A chosen sentence is", keySentence: "a key sentence", proofOf: (topic) => `evidence: ${topic}`,
  markHint: "Click sentences in the article, or move with the arrow keys and press space; again to unmark.",
  takeAway: (topic) => `Take the topic “${topic}” away`,
  state: (parts) => `Labelled here: ${parts.join(", ")}.`,
  stateTopics: "topics", stateKeys: "key sentences", stateEvidence: "evidence",
  count: (n) => `${n} ${n === 1 ? "document" : "documents"} corrected`, saveRows: "Download training rows (JSONL)", storeRows: "Store in the service",
  saveTasks: "Label Studio tasks", saveConfig: "Label Studio configuration", stored: (n) => `${n} stored.`,
  refused: (n, bad) => `${n} stored, ${bad} refused: `,
  exchange: "Corrections and Label Studio",
  import: "Import labels…", importHint: "Training rows (JSONL), or Label Studio's JSON export",
  imported: (n, bad) => `${n} imported` + (bad ? `, ${bad} can't be used:` : "."),
  badImport: "These are neither training rows (JSONL) nor Label Studio's tasks (JSON).",
  leave: "Corrections have not been downloaded.",
  legendEvidence: "evidence", legendKey: "summary",
  removed: "Taken out while reading: ", nothingRemoved: "Nothing was taken out while reading.",
  openapi: "API (OpenAPI)", topicTable: "Topics", limits: "Limits and versions",
  working: "Analysing…", done: (topics, sentences) => `Done: ${topics} topics, a summary of ${sentences} sentences.`,
  meta: (c, s, model) => `${c} characters, ${s} sentences · model ${model}`,
  emptyInput: "Paste a document first, or open a file.",
  column: { id: "id", title: "title", topics: "topics", topic_ids: "topic_ids", scores: "scores", summary: "summary", characters: "characters", error: "error", model: "model" },
  problem: {
    0: ["The service does not answer", "See whether it runs, then try again. Your document is still here."],
    document: ["This document can't be analysed", ""],
    401: ["The service needs a key", "Enter it above."],
    413: ["Too large", "Send it in parts, or use the batch command."],
    422: ["The request is wrong", ""],
    429: ["The service is busy", "Try again in a moment; a batch waits by itself."],
    503: ["The service can't do this now", "Try again in a moment."],
    504: ["It took too long", "Send it in several parts."],
    other: ["The request failed", "Try again; if it fails again, the service's log says why."],
  },
  reason: [],
  kind: {},
};

const LANGUAGES = { zh: ZH, en: EN };
const STORED = "wenzhai-language";
const memory = storage("localStorage");
let current = memory.getItem(STORED) ?? (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");

export const language = () => current;
export const t = (name, ...values) => {
  const found = LANGUAGES[current][name];
  return typeof found === "function" ? found(...values) : found;
};

export function switchLanguage() {
  current = current === "zh" ? "en" : "zh";
  memory.setItem(STORED, current);
}

// Fill in the fixed texts of the page.
export function translate() {
  document.documentElement.lang = current === "zh" ? "zh-CN" : "en";
  for (const node of document.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
  for (const node of document.querySelectorAll("[data-t-label]")) node.setAttribute("aria-label", t(node.dataset.tLabel));
  for (const node of document.querySelectorAll("[data-t-placeholder]")) node.placeholder = t(node.dataset.tPlaceholder);
}

// A topic's name; the service has Chinese ones, and ids made of English words.
export const topicName = (topic, id) => (current === "zh" ? topic?.name || id : id.replaceAll("_", " "));

// [heading, what to do, the service's own words] of something that went wrong.
export function explain(problem) {
  const [heading, advice] = t("problem")[problem.status] ?? t("problem").other;
  const known = t("reason").find(([pattern]) => pattern.test(problem.message));
  if (!known) return [heading, advice || problem.message, advice ? problem.message : ""];
  return [heading, problem.message.match(known[0])[0].replace(...known) || advice, problem.message];
}

// "readings_removed: 212" -> 注音 212
export function describeWarning(warning) {
  const [name, count] = warning.split(": ");
  const kind = name.replace(/_removed$/, "");
  return `${t("kind")[kind] ?? kind.replaceAll("_", " ")} ${count ?? ""}`.trim();
}
