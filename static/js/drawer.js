// The drawer beside a list and the dialog above the page. Both are filled by htmx (targets #drawer-body and #dialog-body),
// take the focus when they open, and give it back to where it came from when they close.

const drawer = document.getElementById("drawer");
const dialog = document.getElementById("dialog");
const memory = new Map();

const opener = () => {
  const element = document.activeElement;
  const row = element?.closest("tr[data-key]");
  return { element, key: row?.dataset.key, index: row ? [...row.parentElement.children].indexOf(row) : -1 };
};

const giveBack = ({ element, key, index }) => {
  const row = key ? document.querySelector(`tr[data-key="${CSS.escape(key)}"]`) : null;
  const rows = document.querySelectorAll("tr[data-key]");
  const target = row ?? (index >= 0 ? rows[Math.min(index, rows.length - 1)] : null);
  const link = target?.querySelector("[data-main]");
  if (link) link.focus();
  else if (element?.isConnected) element.focus();
  else document.getElementById("main")?.focus();
};

const open = (box) => {
  if (!box.open) {
    memory.set(box, { ...(memory.get(box) ?? {}), from: memory.get(box)?.from ?? opener() });
    if (box === dialog) box.showModal();
    else box.show();
  }
  const first = [".error-summary", "[autofocus]", "h2[tabindex]"].map((kind) => box.querySelector(kind)).find(Boolean);
  (first ?? box).focus();
};

const close = (box) => {
  if (!box?.open) return;
  const dirty = box.querySelector("form[data-dirty]");
  if (dirty && !window.confirm("Leave without saving? What you typed here will be lost.")) return;
  const { from, address } = memory.get(box) ?? {};
  memory.delete(box);
  box.close();
  box.querySelector("[id$=-body]").replaceChildren();
  if (address) history.replaceState(null, "", address);
  if (from) giveBack(from);
};

document.addEventListener("htmx:beforeRequest", (event) => {
  const box = event.detail.target?.closest("#drawer, #dialog");
  if (box && !box.open) memory.set(box, { from: opener(), address: box === drawer ? location.href : "" });
});
document.addEventListener("htmx:afterSwap", (event) => {
  const box = event.detail.target?.closest("#drawer, #dialog");
  if (box && event.detail.target.id.endsWith("-body") && event.detail.target.childElementCount) open(box);
});
document.addEventListener("click", (event) => {
  if (event.target.closest("[data-close]")) {
    const box = event.target.closest("dialog");
    if (box) {
      event.preventDefault();
      close(box);
    }
  }
  const named = event.target.closest("[data-dialog]");
  if (named) document.getElementById(named.dataset.dialog)?.showModal();
  if (event.target === dialog) close(dialog);
});
dialog?.addEventListener("cancel", (event) => {
  event.preventDefault();
  close(dialog);
});
document.addEventListener("tieout:changed", () => {
  for (const box of [dialog, drawer]) {
    box?.querySelectorAll("form[data-dirty]").forEach((form) => form.removeAttribute("data-dirty"));
    close(box);
  }
});
document.addEventListener("tieout:key", (event) => {
  if (event.detail.action === "close" && drawer?.open) {
    event.preventDefault();
    close(drawer);
  }
  const focus = document.activeElement;
  if (event.detail.action === "open" && drawer?.open && drawer.contains(focus) && !focus.matches("a, button, input, select, textarea, summary")) {
    const page = drawer.querySelector("[data-full-page]");
    if (page) {
      event.preventDefault();
      location.assign(page.href);
    }
  }
});
