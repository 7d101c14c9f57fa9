// Lists: one row is current, rows are selected one by one, by range, by page or all that match, and actions work on the
// selection, or on the current row when nothing is selected. A refreshed list keeps the focus on the row it was on.

let anchor = null;
let kept = null;

const list = () => document.querySelector("[data-list]");
const rows = () => [...(list()?.querySelectorAll("tr[data-key]") ?? [])];
const box = (row) => row?.querySelector(".sel input");
const current = () => document.activeElement?.closest?.("tr[data-key]") ?? list()?.querySelector("tr[data-focus]");
const every = () => list()?.querySelector("[name=all_matching]");

const focusRow = (row) => {
  if (!row) return;
  for (const other of list().querySelectorAll("[data-focus]")) other.removeAttribute("data-focus");
  row.setAttribute("data-focus", "");
  const link = row.querySelector("[data-main]") ?? box(row);
  link?.focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
};

const step = (by) => {
  const all = rows();
  if (!all.length) return;
  const at = all.indexOf(current());
  focusRow(all[at < 0 ? 0 : Math.max(0, Math.min(all.length - 1, at + by))]);
};

const selected = () => rows().filter((row) => box(row)?.checked);

const tally = (aloud = true) => {
  const here = list();
  if (!here) return;
  const chosen = selected();
  const all = rows().filter(box);
  const head = here.querySelector("thead .sel input");
  if (head) {
    head.checked = chosen.length > 0 && chosen.length === all.length;
    head.indeterminate = chosen.length > 0 && chosen.length < all.length;
  }
  const matching = every();
  const number = matching?.checked ? Number(matching.value) : chosen.length;
  const words = `${number.toLocaleString("en")} selected`;
  for (const count of here.querySelectorAll("[data-count]")) {
    if (count.textContent !== words) {
      count.textContent = words;
      if (number && aloud) document.dispatchEvent(new CustomEvent("tieout:say", { detail: { text: words } }));
    }
  }
};

const mark = (some, on) => {
  for (const row of some) if (box(row)) box(row).checked = on;
  if (!on && every()) every().checked = false;
  tally();
};

document.addEventListener("change", (event) => {
  if (!event.target.closest("[data-list]")) return;
  if (event.target.matches("thead .sel input")) mark(rows(), event.target.checked);
  else if (event.target.matches("[name=all_matching]")) mark(rows(), event.target.checked);
  else if (event.target.matches(".sel input")) {
    if (every()?.checked && !event.target.checked) every().checked = false;
    tally();
  }
});

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-unselect]")) mark(rows(), false);
  if (!event.target.matches("tbody .sel input")) return;
  const row = event.target.closest("tr[data-key]");
  if (event.shiftKey && anchor?.isConnected) range(row, event.target.checked);
  anchor = row;
});

const range = (row, on) => {
  const all = rows();
  const [from, to] = [all.indexOf(anchor), all.indexOf(row)].sort((a, b) => a - b);
  if (from >= 0) mark(all.slice(from, to + 1), on);
};

const act = (name) => {
  const drawer = document.querySelector("#drawer[open]");
  const named = `[data-shortcut~="${CSS.escape(name)}"]:not(:disabled)`;
  const find = (where) => [...(where?.querySelectorAll(named) ?? [])].find((one) => !one.closest("tr"));
  const ofRow = drawer ? null : current()?.querySelector(named); // what a row offers is meant only on that row
  const last = [...document.querySelectorAll(`.toasts ${named}`)].at(-1); // the last thing done is undone first
  const button = ofRow ?? last ?? find(drawer ?? document.getElementById("main")) ?? find(document);
  if (!button) return false;
  if (button.closest(".bulk") && !selected().length && !every()?.checked) {
    const row = current();
    if (!box(row)) return false;
    box(row).checked = true;
    tally();
  }
  if (button.matches("summary")) {
    button.parentElement.open = true;
    button.focus();
  } else if (button.matches("[data-confirm]")) button.focus(); // money and rules are confirmed where their effect is read
  else button.click();
  return true;
};

document.addEventListener("tieout:act", (event) => act(event.detail.action));

document.addEventListener("tieout:key", (event) => {
  const { action, inList } = event.detail;
  const row = current();
  const steps = { next: 1, previous: -1 };
  if (action in steps) {
    if (document.querySelector("#drawer[open]") || !inList || !rows().length) return;
    event.preventDefault();
    step(steps[action]);
  } else if (action === "read_next" || action === "read_previous") {
    event.preventDefault();
    step(action === "read_next" ? 1 : -1);
    if (document.querySelector("#drawer[open]")) current()?.querySelector("[data-main]")?.click();
  } else if (action === "select" && inList && box(row)) {
    event.preventDefault();
    box(row).checked = !box(row).checked;
    anchor = row;
    tally();
  } else if (action === "select_range" && inList && box(row)) {
    event.preventDefault();
    range(row, true);
  } else if (action === "select_all" && inList) {
    event.preventDefault();
    mark(rows(), true);
    if (every()) {
      every().checked = true;
      every().focus();
      tally();
    }
  } else if (action === "menu" && row) {
    event.preventDefault();
    document.dispatchEvent(new CustomEvent("tieout:row-menu", { detail: { row } }));
  } else if (!["open", "close", "search", "help"].includes(action) && act(action)) event.preventDefault();
});

document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.target?.id !== "results") return;
  const row = current();
  const inside = event.detail.target.contains(document.activeElement);
  kept = { key: row?.dataset.key, index: rows().indexOf(row), inside, chosen: selected().map((one) => one.dataset.key) };
});
document.addEventListener("htmx:afterSettle", () => {
  if (!kept || !list()) return;
  const { key, index, inside, chosen } = kept;
  kept = null;
  const all = rows();
  for (const row of all) if (chosen.includes(row.dataset.key) && box(row)) box(row).checked = true;
  tally(false); // a redrawn list says nothing over what the person was just told
  if (inside && document.activeElement === document.body && index >= 0) {
    focusRow(all.find((row) => row.dataset.key === key) ?? all[Math.min(index, all.length - 1)]);
  }
});
document.addEventListener("focusin", (event) => {
  const row = event.target.closest?.("tr[data-key]");
  if (!row) return;
  for (const other of list()?.querySelectorAll("[data-focus]") ?? []) other.removeAttribute("data-focus");
  row.setAttribute("data-focus", "");
});
tally(false);
