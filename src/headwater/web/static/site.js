// What every page has: copying, keyboard shortcuts, small helps in forms. Works on top of pages that work without it.

const toast = document.getElementById("toast");
let fading;

export function say(text) {
  toast.textContent = text;
  toast.hidden = false;
  clearTimeout(fading);
  fading = setTimeout(() => { toast.hidden = true; }, 2500);
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Clipboards want HTTPS or localhost; a hub on a LAN may have neither.
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "sr";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) {
    const text = button.dataset.copy || button.parentElement.querySelector("code").textContent;
    say(await copy(text) ? document.body.dataset.done : document.body.dataset.failed);
  }
});

// A select or checkbox marked data-submit sends its form at once.
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
});

// A dangerous form opens its button when the name was typed as it is.
document.addEventListener("input", (event) => {
  const wanted = event.target.dataset?.typed;
  if (wanted) event.target.form.querySelector("[data-armed]").disabled = event.target.value !== wanted;
});
for (const field of document.querySelectorAll("[data-typed]")) field.form.querySelector("[data-armed]").disabled = true;

const typing = (target) => target.closest("input, textarea, select, [contenteditable]");
const places = { m: "/models", d: "/datasets", l: "/lineage", c: "/chat", f: "/film", j: "/jobs", n: "/new", s: "/settings", h: "/" };
let waiting = false;

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.key === "Escape" && event.target.matches("[data-seek]")) event.target.blur();
  if (typing(event.target)) return;
  if (waiting && places[event.key]) {
    location.assign(places[event.key]);
  } else if (event.key === "/") {
    const seeks = [...document.querySelectorAll("[data-seek]")].filter((e) => e.offsetParent);
    const seek = seeks.find((e) => e.closest("main")) ?? seeks[0];
    if (seek) {
      event.preventDefault();
      seek.focus();
      seek.select();
    }
  } else if (event.key === "?") {
    location.assign("/help#keys");
  }
  waiting = event.key === "g";
});
