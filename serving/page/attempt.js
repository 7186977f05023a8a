// One thing at a time that may fail: says that it is under way, what came of it, and what went wrong, kindly.

import { key, Problem } from "./api.js";
import { $ } from "./dom.js";
import { explain, t } from "./texts.js";

let again = null; // what "Try again" does
let under = 0;
let turns = 0;
let wanted = new AbortController(); // what the reader asked for last

export function say(text) {
  $("status").textContent = text;
}

// Ends what was asked for before, whose answer or error would stand over what comes now. Returns the signal of what comes.
export function replace() {
  wanted.abort();
  wanted = new AbortController();
  return wanted.signal;
}

// action() may return a sentence to be said at the end; where it throws an AbortError, nothing is said.
export async function attempt(action) {
  const turn = ++turns;
  const end = (text = "") => (text || turn === turns) && say(text); // silence is the latest's to keep
  $("problem").hidden = true;
  document.body.classList.toggle("busy", ++under > 0);
  say(t("working"));
  try {
    end(await action());
  } catch (error) {
    end();
    if (error.name === "AbortError") return;
    again = () => attempt(action);
    complain(error instanceof Problem ? error : { status: "other", message: error.message });
  } finally {
    document.body.classList.toggle("busy", --under > 0);
  }
}

function complain(problem) {
  const [strong, p, small, retry] = $("problem").children;
  [strong.textContent, p.textContent, small.textContent] = explain(problem);
  retry.hidden = ["document", 413, 401, 422].includes(problem.status); // where the same again would fail again
  $("problem").hidden = false;
  if (problem.status === 401) {
    $("key-form").hidden = false;
    $("key").focus();
  }
}

$("problem").querySelector("button").addEventListener("click", () => again());
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key.set($("key").value);
  $("key").value = "";
  $("key-form").hidden = true;
  again();
});
