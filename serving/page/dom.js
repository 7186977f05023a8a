// Small helpers on elements. Text is only ever set as text, never as mark-up.

export const $ = (id) => document.getElementById(id);

// What is kept for the page: nothing beyond it where the browser forbids storing.
export function storage(area) {
  try {
    return window[area];
  } catch {
    const kept = new Map();
    return { getItem: (name) => kept.get(name) ?? null, setItem: (name, value) => kept.set(name, value) };
  }
}

export function element(name, properties = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role") node.setAttribute(key, value);
    else node[key] = value;
  }
  node.append(...children);
  return node;
}

export function button(text, action, properties = {}) {
  const node = element("button", { type: "button", textContent: text, ...properties });
  node.addEventListener("click", action);
  return node;
}

export function options(select, pairs, value) {
  select.replaceChildren(...pairs.map(([id, name]) => element("option", { value: id, textContent: name })));
  select.value = pairs.some(([id]) => id === value) ? value : pairs[0][0];
}

export function download(name, content, type) {
  const link = element("a", { href: URL.createObjectURL(new Blob([content], { type })), download: name });
  document.body.append(link); // Firefox needs it in the document
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

export async function copy(text) {
  try {
    return await navigator.clipboard.writeText(text);
  } catch { /* over plain HTTP there is no clipboard API, and the browser may refuse it */ }
  const focused = document.activeElement;
  const area = element("textarea", { value: text, className: "unseen" });
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
  focused?.focus();
}

// The golden angle sets the colours of neighbours far apart.
export function tint(node, position) {
  node.style.setProperty("--hue", String(Math.round(95 + position * 137.508) % 360));
  return node;
}
