// A name begun with @ in a comment is completed from the people who may read it: the arrows choose, Enter or Tab takes, Escape leaves.

const BEGUN = /(?:^|[^\w@.+-])@([\w.+-]{0,40})$/;
const WAIT = 150;
let count = 0;

const dress = (field) => {
  if (field.dataset.dressed) return;
  field.dataset.dressed = "true";
  const id = `mentions-${count += 1}`;
  const box = document.createElement("div");
  box.className = "typeahead wide";
  const list = Object.assign(document.createElement("ul"), { id, hidden: true });
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "People who may read this");
  for (const [name, value] of Object.entries({ "aria-autocomplete": "list", "aria-controls": id })) field.setAttribute(name, value);
  field.before(box);
  box.append(field, list);
  let at = -1;
  let timer = 0;
  const options = () => [...list.querySelectorAll("[data-value]")];
  const begun = () => BEGUN.exec(field.value.slice(0, field.selectionStart));
  const close = () => {
    clearTimeout(timer);
    list.hidden = true;
    field.removeAttribute("aria-activedescendant");
  };
  const point = (to) => {
    const all = options();
    at = all.length ? (to + all.length) % all.length : -1;
    all.forEach((one, index) => one.setAttribute("aria-selected", String(index === at)));
    if (at >= 0) field.setAttribute("aria-activedescendant", all[at].id);
  };
  const show = async (word) => {
    const address = new URL(field.dataset.mentions, location.href);
    address.searchParams.set("text", word);
    const answer = await fetch(address, { headers: { "HX-Request": "true", "HX-Target": id } });
    if (!answer.ok || begun()?.[1] !== word) return close();
    list.innerHTML = await answer.text();
    options().forEach((one, index) => Object.assign(one, { id: `${id}-${index}` }).setAttribute("role", "option"));
    list.hidden = !options().length;
    point(0);
  };
  const take = (name) => {
    const start = field.selectionStart - begun()[1].length;
    field.setRangeText(`${name} `, start, field.selectionStart, "end");
    close();
    field.dispatchEvent(new Event("change", { bubbles: true }));
  };
  field.addEventListener("input", () => {
    const found = begun();
    close();
    if (found) timer = setTimeout(() => show(found[1]), WAIT);
  });
  field.addEventListener("blur", close);
  field.addEventListener("keydown", (event) => {
    if (list.hidden || event.ctrlKey || event.metaKey) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") point(at + (event.key === "ArrowDown" ? 1 : -1));
    else if ((event.key === "Enter" || event.key === "Tab") && at >= 0) take(options()[at].dataset.value);
    else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  list.addEventListener("mousedown", (event) => {
    event.preventDefault();
    const one = event.target.closest("[data-value]");
    if (one && begun()) take(one.dataset.value);
  });
};

const dressAll = (root) => root.querySelectorAll?.("textarea[data-mentions]").forEach(dress);
dressAll(document);
document.addEventListener("htmx:afterSwap", (event) => dressAll(event.detail.target));
