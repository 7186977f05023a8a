// Requests to the service, and what went wrong with them: Problem.status is 0 where there was no answer at all.

import { storage } from "./dom.js";

// One request brings all that the page shows; thresholds and summary lengths are then a matter of the browser.
const EVERYTHING = { threshold: 0, include_text: true, include_sentences: true, include_removed: true };
const KEY = "wenzhai-key";
const TRIES = 5;

export class Problem extends Error {
  constructor(status, message, retryAfter = 2) {
    super(message);
    Object.assign(this, { status, retryAfter });
  }
}

const memory = storage("sessionStorage"); // of this tab only, and gone with it
const UNSEEN = /[\u200b-\u200f\u2060\ufeff]/g; // of no width: chat programs put them around what is copied
export const key = {
  get: () => memory.getItem(KEY) || "",
  set: (value) => memory.setItem(KEY, value.replace(UNSEEN, "").trim()),
};
const asBytes = (text) => Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join("");

export async function ask(address, { body, signal, ...rest } = {}) {
  const headers = key.get() ? { Authorization: "Bearer " + asBytes(key.get()) } : {}; // fetch takes bytes alone
  if (body && !(body instanceof FormData)) {
    headers["Content-Type"] = "application/json";
    body = JSON.stringify(body);
  }
  let response, answer;
  try {
    response = await fetch(address, { method: body ? "POST" : "GET", headers, body, signal, ...rest });
    answer = await response.json();
  } catch (error) {
    signal?.throwIfAborted();
    throw new Problem(response?.ok === false ? response.status : 0, error.message);
  }
  if (!response.ok) {
    throw new Problem(response.status, String(answer.error || ""), Number(response.headers.get("Retry-After")) || 2);
  }
  return answer;
}

// A source is {file} or {text, title, format}; the answer holds `documents` and `errors` (a zip has many of both).
export async function analyse(source, limits, { focus, signal } = {}) {
  const wanted = focus ? { ...EVERYTHING, focus } : EVERYTHING;
  if (!source.file) {
    const { id = "", text, title = "", format = "auto" } = source;
    return ask("v1/analyze", { body: { documents: [{ id, text, title, format }], ...wanted }, signal });
  }
  if (source.file.size > limits.max_request_bytes) {
    throw new Problem(413, `the file has ${source.file.size} bytes, more than ${limits.max_request_bytes}`);
  }
  try {
    await source.file.slice(0, 1).arrayBuffer(); // else fetch would fail as if there were no service
  } catch {
    throw new Problem("document", "the browser can't open the file: it is a folder, or was moved or changed");
  }
  const body = new FormData();
  body.append("files", source.file);
  body.append("options", JSON.stringify(wanted));
  return ask("v1/files", { body, signal });
}

// As analyse, but a busy service is waited for: in a batch nobody stands by to try again.
export async function analysePatiently(source, limits, { signal }) {
  for (let tried = 1; ; tried++) {
    try {
      return await analyse(source, limits, { signal });
    } catch (error) {
      if (!(error instanceof Problem) || ![429, 503].includes(error.status) || tried === TRIES) throw error;
      await new Promise((done) => setTimeout(done, error.retryAfter * 1000 * tried));
      signal.throwIfAborted();
    }
  }
}
