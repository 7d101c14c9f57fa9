// The focus is never lost. What a swap replaces while it holds the focus gets it back (by its id), or the menu that it was in,
// or the part itself. Rows of a list have their own way in list.js, the drawer and dialogs theirs in drawer.js.

let held = null;

document.addEventListener("htmx:beforeSwap", (event) => {
  const target = event.detail.target;
  const focus = document.activeElement;
  if (!target || !focus || focus === document.body || !target.contains(focus)) return;
  const menu = focus.closest("details.menu, .chip-pair")?.querySelector("summary");
  held = [focus.id, menu?.id, target.id];
});

document.addEventListener("htmx:afterSettle", () => {
  if (!held) return;
  const ids = held;
  held = null;
  if (document.activeElement && document.activeElement !== document.body) return;
  for (const id of [...ids, "main"]) {
    const element = id ? document.getElementById(id) : null;
    if (!element?.checkVisibility()) continue;
    element.focus({ preventScroll: true });
    if (document.activeElement === element) return;
    if (element.matches("input, select, textarea, button, a, summary")) continue;
    element.tabIndex = -1;
    element.focus({ preventScroll: true });
    if (document.activeElement === element) return;
  }
});

// A notice that goes away while somebody stands on it hands the focus on to the row, or to the content.
document.addEventListener("tieout:leaving", (event) => {
  if (!event.detail.box.contains(document.activeElement)) return;
  (document.querySelector("tr[data-focus] [data-main]") ?? document.getElementById("main"))?.focus();
});
