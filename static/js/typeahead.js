// A select with data-typeahead becomes a field in which one types: every word must occur in the choice, wherever. The select
// stays in the form, holds the value and says when it changes; without this script it is used as it is.

const SHOWN = 8;
let count = 0;

const entries = (select) => [...select.options].filter((option) => option.value)
  .map((option) => ({ value: option.value, label: option.textContent.trim(), group: option.parentElement.label ?? "" }));

const matching = (all, typed) => {
  const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
  return all.filter((one) => words.every((word) => one.label.toLowerCase().includes(word))).slice(0, SHOWN);
};

const dress = (select) => {
  if (select.dataset.dressed || select.options.length < 2) return;
  select.dataset.dressed = "true";
  const all = entries(select);
  const id = `typeahead-${count += 1}`;
  const box = document.createElement("div");
  box.className = "typeahead";
  const input = Object.assign(document.createElement("input"), { type: "text", id: `${id}-field`, autocomplete: "off", spellcheck: false });
  for (const [name, value] of Object.entries({ role: "combobox", "aria-expanded": "false", "aria-controls": id, "aria-autocomplete": "list" })) input.setAttribute(name, value);
  for (const name of ["aria-describedby", "aria-invalid", "aria-label"]) if (select.hasAttribute(name)) input.setAttribute(name, select.getAttribute(name));
  const list = Object.assign(document.createElement("ul"), { id, hidden: true });
  list.setAttribute("role", "listbox");
  const label = document.querySelector(`label[for="${CSS.escape(select.id)}"]`);
  if (label) {
    label.htmlFor = input.id;
    list.setAttribute("aria-label", label.textContent.trim());
  }
  let at = -1;
  let found = [];
  const chosen = () => all.find((one) => one.value === select.value)?.label ?? "";
  const close = () => {
    list.hidden = true;
    at = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const point = (to) => {
    at = found.length ? (to + found.length) % found.length : -1;
    [...list.querySelectorAll("[role=option]")].forEach((item, index) => item.setAttribute("aria-selected", String(index === at)));
    if (at >= 0) input.setAttribute("aria-activedescendant", `${id}-${at}`);
  };
  const show = () => {
    found = matching(all, input.value === chosen() ? "" : input.value);
    let group = "";
    list.replaceChildren(...found.flatMap((one, index) => {
      const item = Object.assign(document.createElement("li"), { id: `${id}-${index}`, textContent: one.label });
      item.setAttribute("role", "option");
      item.dataset.value = one.value;
      const heads = one.group && one.group !== group;
      group = one.group;
      if (heads) item.dataset.group = one.group;
      return [item];
    }));
    if (!found.length) {
      const none = Object.assign(document.createElement("li"), { textContent: "Nothing has these words." });
      none.setAttribute("role", "presentation");
      list.append(none);
    }
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    point(input.value === chosen() ? found.findIndex((one) => one.value === select.value) : 0);
  };
  const take = (value) => {
    const changed = select.value !== value;
    select.value = value;
    input.value = chosen();
    close();
    if (changed) select.dispatchEvent(new Event("change", { bubbles: true }));
  };
  input.value = chosen();
  if (select.autofocus) input.autofocus = true;
  input.addEventListener("input", show);
  input.addEventListener("change", (event) => event.stopPropagation());
  input.addEventListener("click", () => { input.select(); show(); });
  input.addEventListener("blur", () => { input.value = chosen(); close(); });
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      if (list.hidden) show();
      else point(at + (event.key === "ArrowDown" ? 1 : -1));
    } else if (event.key === "Enter" && !event.ctrlKey && !event.metaKey && !list.hidden && at >= 0) take(found[at].value);
    else if (event.key === "Escape" && !list.hidden) {
      input.value = chosen();
      close();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
  list.addEventListener("mousedown", (event) => {
    event.preventDefault();
    const item = event.target.closest("[data-value]");
    if (item) take(item.dataset.value);
  });
  if (select.hasAttribute("aria-label")) list.setAttribute("aria-label", select.getAttribute("aria-label"));
  if (!select.options[0].value) input.placeholder = select.options[0].textContent.trim();
  input.required = select.required;
  select.required = false;
  select.hidden = true;
  select.autofocus = false;
  box.append(input, list);
  select.after(box);
};

const dressAll = (root) => root.querySelectorAll?.("select[data-typeahead]").forEach(dress);
dressAll(document);
document.addEventListener("htmx:afterSwap", (event) => dressAll(event.detail.target));
