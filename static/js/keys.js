// The keyboard: the map comes from the server (body data-keymap, the user's own), this file only turns a key into an
// action and sends it as tieout:key. Never inside a field, never while a modal dialog is open, never with a modifier but
// Ctrl/Cmd+Enter, which confirms.

const map = JSON.parse(document.body.dataset.keymap || "{}");
const byKey = new Map();
for (const [action, keys] of Object.entries(map)) for (const key of keys) byKey.set(key, action);
const PREFIX_MS = 1500;
let going = 0;

const inField = (element) => Boolean(element.closest?.("input:not([type=checkbox], [type=radio], [type=submit], [type=button]), select, textarea, [contenteditable]"));

const confirmForm = (target) => {
  const form = target.closest?.("form") ?? document.querySelector("dialog[open] form, #drawer[open] form");
  const button = form?.querySelector("[data-confirm], button.primary[type=submit]");
  if (button && !button.disabled) form.requestSubmit(button);
  return Boolean(button);
};

const go = (letter) => {
  const link = document.querySelector(`[data-go="${CSS.escape(letter)}"]`);
  if (link) location.assign(link.href);
  return Boolean(link);
};

document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    if (confirmForm(event.target)) event.preventDefault();
    return;
  }
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (inField(event.target)) {
    if (event.key === "Escape" && !event.target.closest("dialog")) event.target.blur();
    else if (event.key !== "Escape") return;
  }
  if (document.querySelector("dialog:modal")) return;
  if (going && performance.now() - going < PREFIX_MS) {
    going = 0;
    if (go(event.key.toLowerCase())) event.preventDefault();
    return;
  }
  going = 0;
  const action = byKey.get(event.key);
  if (!action) return;
  if (action === "go") {
    going = performance.now();
    return;
  }
  const focus = document.activeElement;
  const inList = focus === document.body || focus.id === "main" || Boolean(focus.closest("[data-list], #drawer"));
  if (action === "search") {
    document.querySelector("[data-search]")?.focus();
    event.preventDefault();
  } else if (action === "help") {
    document.getElementById("keys")?.showModal();
    event.preventDefault();
  } else if (action === "close" && !document.querySelector("#drawer[open]")) {
    const back = document.querySelector("[data-back]");
    if (back && event.key !== "Escape") location.assign(back.href);
  } else {
    const sent = new CustomEvent("tieout:key", { detail: { action, inList }, cancelable: true });
    document.dispatchEvent(sent);
    if (sent.defaultPrevented) event.preventDefault();
  }
});
