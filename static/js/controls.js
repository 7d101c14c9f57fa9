// Every key has a visible control, and every control says its key as this person has set it: in its tooltip, to screen
// readers and beside its words. Also the menu of a row (the key "menu", or its button), and the fields that take a key.

const map = JSON.parse(document.body.dataset.keymap || "{}");
const NAMES = { ArrowDown: "↓", ArrowUp: "↑", Escape: "Esc" };
const printed = (key) => (key.length === 1 && key !== key.toLowerCase() ? `⇧ ${key}` : NAMES[key] ?? key.toUpperCase());
const spoken = (key) => (key.length === 1 && key !== key.toLowerCase() ? `Shift+${key}` : key.length === 1 ? key.toUpperCase() : key);
const actionOf = (control) => control.dataset.shortcut.split(" ")[0]; // the others are further keys of the same control
const words = (control) => {
  const copy = control.cloneNode(true);
  for (const extra of copy.querySelectorAll("kbd, .sr, .badge")) extra.remove();
  return control.getAttribute("aria-label") ?? copy.textContent.trim().replace(/\s+/g, " ");
};

const label = (root) => {
  for (const control of root.querySelectorAll("[data-shortcut]")) {
    const [key] = map[actionOf(control)] ?? [];
    const shown = control.querySelector("kbd");
    if (key) {
      control.title = `${words(control)} (${printed(key)})`;
      control.setAttribute("aria-keyshortcuts", spoken(key));
      if (shown) shown.textContent = printed(key);
    } else {
      control.removeAttribute("aria-keyshortcuts");
      shown?.remove();
    }
  }
  for (const shown of root.querySelectorAll("[data-key-of]")) {
    const [key] = map[shown.dataset.keyOf] ?? [];
    if (key) shown.textContent = printed(key);
    else shown.remove();
  }
  const [go] = map.go ?? [];
  for (const link of root.querySelectorAll("[data-go]")) if (go) link.title = `${printed(go)} then ${link.dataset.go.toUpperCase()}`;
  if (!Object.keys(map).length) for (const hint of root.querySelectorAll("[data-hint]")) hint.remove();
  const readable = document.querySelector("tr[data-key] [data-main]");
  for (const button of root.querySelectorAll(".reading")) button.hidden = !readable || Boolean(button.closest("#dialog"));
};

// The menu of a row: what can be done with it, each with its key.
const menu = document.createElement("div");
menu.id = "row-menu";
menu.className = "row-menu";
menu.popover = "auto";
menu.setAttribute("role", "menu");
(document.getElementById("main") ?? document.body).append(menu);
let opener = null;

const offered = (row) => {
  const own = [...row.querySelectorAll("[data-shortcut]")];
  const bulk = [...document.querySelectorAll(".bulk [data-shortcut]:not(:disabled)")];
  const seen = new Set();
  return [...own, ...bulk].filter((control) => !seen.has(actionOf(control)) && seen.add(actionOf(control)));
};

const item = (text, key, run) => {
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("role", "menuitem");
  button.tabIndex = -1;
  button.append(text);
  if (key) {
    const shown = document.createElement("kbd");
    shown.textContent = printed(key);
    button.append(shown);
  }
  button.addEventListener("click", () => {
    menu.hidePopover();
    opener?.focus();
    run();
  });
  return button;
};

const openMenu = (row) => {
  const main = row.querySelector("[data-main]");
  opener = main ?? row.querySelector("input");
  menu.setAttribute("aria-label", `Actions: ${main?.textContent.trim() ?? "this row"}`);
  const items = [];
  if (main) items.push(item("Open", map.open?.[0], () => main.click()));
  const box = row.querySelector(".sel input");
  if (box) items.push(item(box.checked ? "Take out of the selection" : "Select", map.select?.[0], () => box.click()));
  for (const control of offered(row)) {
    const action = actionOf(control);
    items.push(item(words(control), map[action]?.[0], () => document.dispatchEvent(new CustomEvent("tieout:act", { detail: { action } }))));
  }
  if (main?.href) {
    const copy = item("Copy link", "", () => {});
    Object.assign(copy.dataset, { copy: "", text: main.href });
    items.push(copy);
  }
  menu.replaceChildren(...items);
  menu.showPopover();
  const at = (main ?? row).getBoundingClientRect();
  const top = Math.min(at.bottom + 4, innerHeight - menu.offsetHeight - 8);
  menu.style.setProperty("inset-block-start", `${Math.max(8, top)}px`);
  menu.style.setProperty("inset-inline-start", `${Math.max(8, Math.min(at.left, innerWidth - menu.offsetWidth - 8))}px`);
  items[0]?.focus();
};

menu.addEventListener("keydown", (event) => {
  const items = [...menu.children];
  const at = items.indexOf(document.activeElement);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
  if (to !== undefined) {
    items[(to + items.length) % items.length].focus();
    event.preventDefault();
  } else if (event.key === "Escape" || event.key === "Tab") {
    menu.hidePopover();
    opener?.focus();
    event.preventDefault();
  } else if (event.key.length === 1) {
    const key = items.find((one) => one.querySelector("kbd")?.textContent === printed(event.key));
    key?.click();
    event.preventDefault();
  }
  event.stopPropagation();
});

document.addEventListener("tieout:row-menu", (event) => openMenu(event.detail.row));
document.addEventListener("click", (event) => {
  if (event.target.closest("[data-row-menu]")) {
    const row = document.querySelector("tr[data-focus]") ?? document.querySelector("tr[data-key]");
    if (row) openMenu(row);
  }
  const read = event.target.closest("[data-read]");
  if (read) document.dispatchEvent(new CustomEvent("tieout:key", { detail: { action: `read_${read.dataset.read}`, inList: true }, cancelable: true }));
});

// The rows' height: the key presses whichever of the two buttons of the account menu is not pressed.
document.addEventListener("tieout:key", (event) => {
  const other = event.detail.action === "density" ? document.querySelector("[data-appearance] [name=density][aria-pressed=false]") : null;
  if (!other) return;
  other.click();
  event.preventDefault();
});

// A field that takes a key takes the next one pressed; Tab goes on, Backspace empties it.
document.addEventListener("keydown", (event) => {
  if (!event.target.matches?.("[data-key-field]") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (["Tab", "Shift", "Enter"].includes(event.key)) return;
  event.preventDefault();
  event.target.value = ["Backspace", "Delete"].includes(event.key) ? "" : event.key;
  event.target.dispatchEvent(new Event("input", { bubbles: true }));
});

document.addEventListener("htmx:afterSettle", (event) => label(event.detail.target ?? document));
document.addEventListener("toggle", (event) => {
  if (event.target === menu && event.newState === "closed" && menu.contains(document.activeElement)) opener?.focus();
}, true);
label(document);
