// Results as CSV and JSONL.

// Excel takes a cell that begins like this for a formula (OWASP, "CSV Injection").
const FORMULA = /^[=+\-@\t\r\n]/;

function cell(value) {
  let text = String(value ?? "");
  if (typeof value === "string" && FORMULA.test(text)) text = "'" + text;
  return /[",\r\n]/.test(text) || text !== text.trim() ? '"' + text.replaceAll('"', '""') + '"' : text;
}

// With a byte order mark, without which Excel reads UTF-8 as the system's encoding.
export function csv(header, rows) {
  return "\ufeff" + [header, ...rows].map((row) => row.map(cell).join(",") + "\r\n").join("");
}

export function jsonl(rows) {
  return rows.map((row) => JSON.stringify(row) + "\n").join("");
}

export function parseJsonl(text) {
  return text.replace(/^\ufeff/, "").split("\n").filter((line) => line.trim()).map((line) => JSON.parse(line));
}
