// The keyboard: the map comes from the server (body data-keymap, the user's own), this file only turns a key into an
// action and sends it as tieout:key. Never inside a field, a menu or an open dialog, never with a modifier but
// Ctrl/Cmd+Enter, which confirms; and what acts on rows only while the focus is in the page's content or nowhere.

const map = JSON.parse(document.body.dataset.keymap || "{}");
const byKey = new Map();
for (const [action, keys] of Object.entries(map)) for (const key of keys) byKey.set(key, action);
const PREFIX_MS = 1500;
const ANYWHERE = new Set(["search", "help", "go", "view", "export", "density", "reload", "undo"]);
let pending = null; // the first of two keys: its action and when it came

const inField = (element) => Boolean(element.closest?.("input:not([type=checkbox], [type=radio], [type=submit], [type=button]), select, textarea, [contenteditable]"));

// A dialog that was just closed keeps the focus until the browser's next frame, unless something else had it before.
const isNowhere = (element) => element === document.body || Boolean(element.closest("dialog:not([open])"));

// What is confirmed: the form that one is in; else what the open dialog or drawer, or else the page, is there to confirm.
const confirmForm = (target) => {
  const box = document.querySelector("dialog:modal, #drawer[open]") ?? document.getElementById("main");
  const form = target.closest?.("form:not([data-list])") ?? box?.querySelector("form:has([data-confirm])")
    ?? box?.querySelector("form:not([data-list]):has(button.primary[type=submit])");
  const button = ["[data-confirm]", "button.primary[type=submit]", ...(inField(target) ? ["button[type=submit]"] : [])]
    .map((kind) => form?.querySelector(kind)).find(Boolean);
  if (button && !button.disabled) form.requestSubmit(button);
  return Boolean(button);
};

// What the second key of a pair means: a place for G, a saved view for V.
const SECOND = { go: "data-go", view: "data-view" };
const follow = (action, key) => {
  const link = document.querySelector(`[${SECOND[action]}="${CSS.escape(key.toLowerCase())}"]`);
  link?.click();
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
  if (document.querySelector("dialog:modal, [role=menu]:popover-open")) return;
  const inViews = byKey.get(event.key) === "view" || pending?.action === "view"; // their keys are read in their open menu
  if (event.target.closest?.("details.menu[open]") && !inViews) return;
  if (event.key === "Shift") return;
  const first = pending && performance.now() - pending.at < PREFIX_MS ? pending.action : null;
  pending = null;
  if (first) {
    if (follow(first, event.key)) event.preventDefault();
    return;
  }
  const action = byKey.get(event.key);
  if (!action) return;
  if (action in SECOND) {
    pending = { action, at: performance.now() };
    return;
  }
  const focus = document.activeElement;
  const inList = isNowhere(focus) || focus.id === "main" || Boolean(focus.closest("main, #drawer[open]"));
  if (!inList && !ANYWHERE.has(action) && action !== "close") return;
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
