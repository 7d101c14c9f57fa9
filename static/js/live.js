// A list that never jumps: new rows are only told of, a row whose figures changed is drawn again in its place, and when the
// list cannot be read its old rows stay, greyed, with a way to try again.

const results = () => document.getElementById("results");
const refresh = () => document.body.dispatchEvent(new CustomEvent("tieout:changed"));

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-refresh]")) refresh();
  const again = event.target.closest("[data-again]");
  if (again) window.htmx.ajax("GET", again.dataset.again, { target: "#results", swap: "outerHTML" });
});
document.addEventListener("tieout:key", (event) => {
  if (event.detail.action === "reload" && results() && !event.defaultPrevented) {
    event.preventDefault();
    refresh();
  }
});

// A row drawn again keeps its tick and the focus.
let before = null;
document.addEventListener("htmx:oobBeforeSwap", (event) => {
  const row = event.detail.target.closest?.("tr[data-key]");
  before = row && { id: row.id, ticked: row.querySelector(".sel input")?.checked, focused: row.contains(document.activeElement), current: row.hasAttribute("data-focus") };
});
document.addEventListener("htmx:oobAfterSwap", () => {
  const row = before && document.getElementById(before.id);
  if (!row) return;
  const box = row.querySelector(".sel input");
  if (box && before.ticked) box.checked = true;
  if (before.current) row.setAttribute("data-focus", "");
  if (before.focused) (row.querySelector("[data-main]") ?? box)?.focus({ preventScroll: true });
  before = null;
});

const failed = (event) => {
  const part = results();
  if (!part || event.detail.target !== part) return;
  part.setAttribute("data-failed", "");
  part.querySelector(".notice.failed")?.remove();
  const reference = event.detail.xhr?.getResponseHeader("X-Request-ID");
  const strip = document.createElement("div");
  strip.className = "notice bad failed";
  strip.setAttribute("role", "alert");
  const words = document.createElement("p");
  words.textContent = `The list could not be read again; these rows are as they were.${reference ? ` Ref ${reference}` : ""}`;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "small";
  button.textContent = "Try again";
  button.dataset.again = event.detail.pathInfo?.finalRequestPath ?? location.href;
  strip.append(words, button);
  part.prepend(strip);
};
document.addEventListener("htmx:responseError", failed);
document.addEventListener("htmx:sendError", failed);
