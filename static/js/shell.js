// What every page has: menus, notices, copying, appearance, guarded forms, and the sentences for a request that failed.
// Others talk to it by events on the document: tieout:notice, tieout:say, tieout:appearance.

const root = document.documentElement;

// Menus are native <details>; a click elsewhere and Escape close them, arrows walk through them.
const openMenus = () => document.querySelectorAll("details.menu[open]");
const shut = (menu) => { // Enter in a field clicks the first button of its form, wherever that is: the focus stays here
  if (menu.contains(document.activeElement)) menu.querySelector("summary").focus();
  menu.open = false;
};
document.addEventListener("click", (event) => {
  for (const menu of openMenus()) if (!menu.contains(event.target)) shut(menu);
});
document.addEventListener("focusin", (event) => {
  for (const menu of openMenus()) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  const menu = event.target.closest?.("details.menu[open]");
  if (!menu) return;
  if (event.key === "Escape") {
    menu.open = false;
    menu.querySelector("summary").focus();
    event.stopImmediatePropagation();
    event.preventDefault();
  }
  if ((event.key === "ArrowDown" || event.key === "ArrowUp") && !event.target.matches("input[type=text], input[type=number], input[type=date], input[type=radio], select, textarea")) {
    const items = [...menu.querySelectorAll("summary, a, button, input")];
    const step = event.key === "ArrowDown" ? 1 : -1;
    items[(items.indexOf(document.activeElement) + step + items.length) % items.length]?.focus();
    event.stopImmediatePropagation();
    event.preventDefault();
  }
}, true);

// Groups stay folded by a cookie, which the server reads: no page jumps.
document.getElementById("side")?.addEventListener("click", (event) => {
  const group = event.target.closest("summary")?.parentElement;
  if (!group) return;
  const folded = new Set(document.cookie.match(/(?:^|; )tieout_folded=([^;]*)/)?.[1].split(".").filter(Boolean));
  if (group.open) folded.add(group.dataset.fold); // it closes once this is heard
  else folded.delete(group.dataset.fold);
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `tieout_folded=${[...folded].join(".")}; Path=/; Max-Age=31536000; SameSite=Lax${secure}`;
});

// One persistent live region says what happened; toasts show it.
const region = document.getElementById("status");
const say = (text) => {
  if (!region) return;
  region.textContent = "";
  setTimeout(() => { region.textContent = text; }, 50);
};
document.addEventListener("tieout:say", (event) => say(event.detail.text ?? event.detail.value));

const UNDO_SECONDS = 10;
const remove = (box) => {
  document.dispatchEvent(new CustomEvent("tieout:leaving", { detail: { box } }));
  box.remove();
};
const toast = ({ text, tone = "good", undo = "", url = "" }) => {
  const shelf = document.getElementById("toasts");
  if (!shelf || !text) return;
  const box = document.createElement("div");
  box.className = `toast ${tone}`;
  const words = document.createElement(url ? "a" : "span");
  words.textContent = text;
  if (url) words.href = url;
  box.append(words);
  if (undo) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "small";
    button.dataset.shortcut = "undo";
    button.textContent = "Undo";
    button.addEventListener("click", () => {
      remove(box);
      window.htmx.ajax("POST", undo, { swap: "none" });
    });
    box.append(button);
  }
  const close = document.createElement("button");
  close.type = "button";
  close.className = "ghost icon small";
  close.setAttribute("aria-label", "Dismiss");
  close.textContent = "✕";
  close.addEventListener("click", () => remove(box));
  box.append(close);
  shelf.append(box);
  say(text);
  if (tone === "good") fade(box);
};
const fade = (box) => {
  let timer = setTimeout(() => remove(box), UNDO_SECONDS * 1000);
  for (const stop of ["mouseenter", "focusin"]) box.addEventListener(stop, () => clearTimeout(timer));
  for (const start of ["mouseleave", "focusout"]) {
    box.addEventListener(start, () => { timer = setTimeout(() => remove(box), UNDO_SECONDS * 1000); });
  }
};
document.addEventListener("tieout:notice", (event) => toast(event.detail));
for (const box of document.querySelectorAll(".toast")) {
  box.querySelector("[data-dismiss]")?.addEventListener("click", () => remove(box));
  if (!box.classList.contains("bad")) fade(box);
  say(box.firstElementChild.textContent);
}

// Appearance: the server renders the choice; this only spares the reload.
document.addEventListener("tieout:appearance", (event) => {
  const { theme, density } = event.detail;
  root.dataset.theme = theme;
  root.dataset.density = density;
  for (const button of document.querySelectorAll("[data-appearance] button")) {
    button.setAttribute("aria-pressed", String(button.value === theme || button.value === density));
  }
});

// Copying, with the result said aloud.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = button.dataset.copy ? document.getElementById(button.dataset.copy) : null;
  const text = button.dataset.text ?? source?.textContent ?? "";
  try {
    await navigator.clipboard.writeText(text.trim());
    toast({ text: "Copied." });
  } catch {
    toast({ text: "The browser did not allow copying; select the text and copy it by hand.", tone: "warn" });
  }
});

// Paper. A list that was opened to be printed prints itself.
if (document.querySelector("[data-print-now]")) window.print();
document.addEventListener("click", (event) => {
  if (event.target.closest("[data-print]")) window.print();
});

// A form that holds unsaved work asks before it is left.
document.addEventListener("input", (event) => event.target.closest("form[data-guard]")?.setAttribute("data-dirty", ""));
document.addEventListener("submit", (event) => event.target.removeAttribute("data-dirty"));
window.addEventListener("beforeunload", (event) => {
  if (document.querySelector("form[data-dirty]")) event.preventDefault();
});

// A form and its buttons wait for the answer, but no longer than this: it may be a file, which leaves the page as it is.
const SENT_MS = 8000;
const buttonsOf = (sent) => (sent.matches("form") ? [...sent.elements].filter((one) => one.matches("button")) : [sent]);
const release = (sent) => {
  if (!sent.hasAttribute("data-sent")) return;
  sent.removeAttribute("data-sent");
  for (const button of buttonsOf(sent)) button.removeAttribute("aria-disabled");
};
const hold = (sent) => {
  sent.setAttribute("data-sent", "");
  for (const button of buttonsOf(sent)) button.setAttribute("aria-disabled", "true");
  setTimeout(() => release(sent), SENT_MS);
};
for (const sending of ["submit", "click"]) {
  document.addEventListener(sending, (event) => {
    if (!event.target.closest?.(sending === "click" ? "button[data-sent]" : "form[data-sent]")) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }, true);
}
document.addEventListener("submit", (event) => {
  if (!event.defaultPrevented && event.target.method === "post") hold(event.target);
});
document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.detail.requestConfig.verb !== "get" && event.detail.elt.matches("form, button")) hold(event.detail.elt);
});
document.addEventListener("htmx:afterRequest", (event) => release(event.detail.elt));
window.addEventListener("pageshow", () => document.querySelectorAll("[data-sent]").forEach(release));

// Requests.
document.addEventListener("htmx:configRequest", (event) => {
  const { headers, verb } = event.detail;
  const token = document.querySelector("meta[name=csrf-token]");
  if (token && verb !== "get") headers["X-CSRFToken"] = token.content;
  if (document.querySelector("#drawer[open]")) headers["X-Drawer"] = "open";
});
document.addEventListener("htmx:beforeRequest", (event) => event.detail.target?.setAttribute("aria-busy", "true"));
document.addEventListener("htmx:afterRequest", (event) => event.detail.target?.removeAttribute("aria-busy"));
document.addEventListener("htmx:afterSwap", (event) => {
  const summary = event.detail.target?.querySelector(".error-summary");
  if (summary) summary.focus();
});
document.addEventListener("htmx:sendError", (event) => {
  if (event.detail.elt.matches("[data-quiet]")) return;
  toast({ text: "Tieout could not be reached; nothing was changed. Check the network and try again.", tone: "bad" });
});
document.addEventListener("htmx:responseError", (event) => {
  if (event.detail.elt.matches("[data-quiet]")) return;
  const status = event.detail.xhr.status;
  const reference = event.detail.xhr.getResponseHeader("X-Request-ID");
  const sentence = {
    401: "You were signed out. Sign in again; nothing was changed.",
    403: "You may not do this here; nothing was changed. Ask a controller of the entity.",
    404: "This is no longer here, or not in your entities.",
    409: "This changed since you opened it. Reload and look again; nothing was changed.",
    429: "Too many requests in a short time. Wait a minute and try again.",
  }[status] ?? "Tieout could not answer; the error is recorded. Try again, and report it if it stays.";
  toast({ text: reference ? `${sentence} Ref ${reference}` : sentence, tone: "bad" });
});
