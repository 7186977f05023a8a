// One thing at a time that may fail: says that it is under way, what came of it, and what went wrong, kindly.

import { key, Problem } from "./api.js";
import { $ } from "./dom.js";
import { explain, t } from "./texts.js";

let again = null; // what "Try again" does
let under = 0;

export function say(text) {
  $("status").textContent = text;
}

// action() may return a sentence to be said at the end.
export async function attempt(action) {
  again = () => attempt(action);
  $("problem").hidden = true;
  document.body.classList.toggle("busy", ++under > 0);
  say(t("working"));
  try {
    say((await action()) ?? "");
  } catch (error) {
    say("");
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
