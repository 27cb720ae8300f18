// Ordering a film: shows the photo, and asks the hub what the form would make each time it changes. The form works
// without it.

import { drops } from "./film-drop.js";

const SIDE = 512;
const form = document.getElementById("film");
if (form) {
  const words = JSON.parse(form.dataset.words);
  const [input, look, ask, clear, chosen, plan, people, go] = ["photo", "look", "ask", "clear", "chosen", "plan",
    "people", "go"].map((id) => document.getElementById(id));
  let small = null;
  let turn = 0;
  let held = 0;
  let waiting;

  // What stands for the photo in a question: of its shape, and quick to send.
  async function shrink(file) {
    const picture = await createImageBitmap(file);
    const scale = Math.min(1, SIDE / Math.max(picture.width, picture.height));
    look.width = Math.max(1, Math.round(picture.width * scale));
    look.height = Math.max(1, Math.round(picture.height * scale));
    look.getContext("2d").drawImage(picture, 0, 0, look.width, look.height);
    picture.close();
    return new Promise((done) => look.toBlob(done, "image/jpeg", 0.85));
  }

  async function take(file) {
    const mine = ++held;
    small = null;
    people.hidden = !file;
    clear.hidden = !file;
    chosen.textContent = file ? file.name : "";
    look.hidden = true;
    ask.hidden = false;
    if (file && file.size > Number(form.dataset.most)) {
      chosen.textContent = words.too_large.replace("{size}", `${Math.floor(form.dataset.most / 1e6)} MB`);
      input.value = "";
      people.hidden = clear.hidden = true;
      return;
    }
    if (file) {
      try {
        const made = await shrink(file);
        if (mine !== held) return;
        small = made;
        look.hidden = false;
        ask.hidden = true;
      } catch {
        chosen.textContent = `${file.name}: ${words.no_picture}`;
      }
    }
    estimate();
  }

  async function estimate() {
    const mine = ++turn;
    const said = new FormData(form);
    if (!input.files.length && !said.get("prompt")) return;
    said.delete("photo");
    if (input.files.length) said.append("photo", small ?? input.files[0], "photo");
    try {
      const answer = await fetch("/film/plan", { method: "POST", body: said });
      const text = await answer.text();
      if (mine === turn && answer.ok) {
        // A page of this hub, read as a document of its own: nothing in it runs.
        plan.replaceChildren(...new DOMParser().parseFromString(text, "text/html").body.childNodes);
      }
    } catch {
      if (mine === turn) plan.textContent = words.offline;
    }
  }

  const soon = () => {
    clearTimeout(waiting);
    waiting = setTimeout(estimate, 350);
  };
  drops(document.getElementById("drop"), input, "image/", take);
  clear.addEventListener("click", () => {
    input.value = "";
    take(null);
    input.focus();
  });
  form.addEventListener("input", (event) => { if (event.target !== input && event.target.name !== "people") soon(); });
  form.addEventListener("submit", () => { go.setAttribute("aria-disabled", "true"); });
  // A way of moving is chosen by its name; without one the strength says nothing.
  const axis = document.getElementById("axis");
  const strength = document.getElementById("strength").closest(".field");
  const follow = () => { strength.hidden = !axis.value; };
  axis.addEventListener("change", follow);
  follow();
  // The browser itself then asks for the answer before it sends.
  new MutationObserver(() => {
    for (const one of people.querySelectorAll("input")) one.required = !people.hidden;
  }).observe(people, { attributeFilter: ["hidden"] });
  take(input.files[0] ?? null);
  addEventListener("pageshow", () => go.removeAttribute("aria-disabled"));
}
