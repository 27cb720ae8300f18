// Ordering a film: shows the photo, and asks the hub what the form would make each time it changes. What the chosen
// model cannot follow is not offered. The form works without this; only painting and correcting do not.

import { drops } from "./film-drop.js";
import { painter } from "./film-paint.js";
import { pointer } from "./film-points.js";

const SHOWN = 960;
const SENT = 512;
const form = document.getElementById("film");
if (form) {
  const words = JSON.parse(form.dataset.words);
  const [input, look, over, stage, ask, clear, chosen, plan, people, go, paint, face, drop] = ["photo", "look", "over", "stage",
    "ask", "clear", "chosen", "plan", "people", "go", "paint", "face", "drop"].map((id) => document.getElementById(id));
  let small = null;
  let turn = 0;
  let held = 0;
  let waiting;

  const soon = () => {
    clearTimeout(waiting);
    waiting = setTimeout(estimate, 350);
  };
  const brushes = painter({ over, panel: paint, words, changed: soon });
  const points = pointer({ stage, panel: face, words, ask: faces, changed: soon });
  // Both when the form is sent and when it is asked about.
  form.addEventListener("formdata", (event) => {
    brushes.add(event.formData);
    points.add(event.formData);
  });

  const jpeg = (canvas) => new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.85));

  function fitted(canvas, picture, side) {
    const scale = Math.min(1, side / Math.max(picture.width, picture.height));
    canvas.width = Math.max(1, Math.round(picture.width * scale));
    canvas.height = Math.max(1, Math.round(picture.height * scale));
    canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
    return canvas;
  }

  // What stands for the photo in a question is of its shape, and quick to send.
  async function read(file) {
    const picture = await createImageBitmap(file);
    fitted(look, picture, SHOWN);
    const made = await jpeg(fitted(document.createElement("canvas"), picture, SENT));
    picture.close();
    return made;
  }

  async function shrunk(file) {
    try {
      const picture = await createImageBitmap(file);
      return await jpeg(fitted(document.createElement("canvas"), picture, SENT));
    } catch {
      return file;
    }
  }

  async function take(file) {
    const mine = ++held;
    small = null;
    people.hidden = !file;
    clear.hidden = !file;
    chosen.textContent = file ? file.name : "";
    stage.hidden = true;
    ask.hidden = false;
    if (file && file.size > Number(form.dataset.most)) {
      chosen.textContent = words.too_large.replace("{size}", `${Math.floor(form.dataset.most / 1e6)} MB`);
      input.value = "";
      people.hidden = clear.hidden = true;
      return;
    }
    if (file) {
      try {
        const made = await read(file);
        if (mine !== held) return;
        small = made;
        stage.hidden = false;
        ask.hidden = true;
      } catch {
        chosen.textContent = `${file.name}: ${words.no_picture}`;
      }
    }
    brushes.reset(look.width, look.height);
    points.forget();
    estimate();
  }

  async function faces() {
    const said = new FormData();
    for (const name of ["model", "prompt", "size"]) said.set(name, form.elements[name].value);
    said.set("photo", await jpeg(look), "photo");
    try {
      return await (await fetch("/film/points", { method: "POST", body: said })).json();
    } catch {
      return { problem: words.offline };
    }
  }

  async function estimate() {
    const mine = ++turn;
    const said = new FormData(form);
    said.delete("photo");
    if (input.files.length) said.append("photo", small ?? input.files[0], "photo");
    if (last.files.length) said.set("last", await shrunk(last.files[0]), "last");
    try {
      const answer = await fetch("/film/plan", { method: "POST", body: said });
      const text = await answer.text();
      if (mine === turn && answer.ok) {
        // A page of this hub, read as a document of its own: nothing in it runs.
        plan.replaceChildren(...new DOMParser().parseFromString(text, "text/html").body.childNodes);
        offer();
      }
    } catch {
      if (mine === turn) plan.textContent = words.offline;
    }
  }

  // Only what the chosen model can follow.
  function offer() {
    const told = document.getElementById("can");
    if (!told) return;
    const can = new Set(told.dataset.can.split(" "));
    if (small) can.add("photo");
    for (const field of form.querySelectorAll("[data-needs]")) {
      field.hidden = !field.dataset.needs.split(" ").every((need) => can.has(need));
      // What is not offered is not sent either.
      for (const one of field.matches(".field") ? field.querySelectorAll("input, select") : []) one.disabled = field.hidden;
    }
    drop.hidden = !can.has("i2v") && !input.files.length;
    form.elements.seconds.max = told.dataset.seconds;
    for (const one of form.elements.size.options) {
      one.hidden = one.value !== "" && Math.max(...one.value.split("x")) > Number(told.dataset.side);
    }
    follow();
  }

  drops(drop, input, "image/", take);
  clear.addEventListener("click", () => {
    input.value = "";
    take(null);
    input.focus();
  });
  const last = form.elements.last;
  const own = new Set(["photo", "people", "area", "tool", "brush"]);
  form.addEventListener("input", (event) => { if (!own.has(event.target.name)) soon(); });
  form.addEventListener("submit", () => { go.setAttribute("aria-disabled", "true"); });
  for (const panel of [paint, face]) {
    panel.addEventListener("toggle", () => stage.classList.toggle("painting", paint.open));
  }
  // A way of moving is chosen by its name; without one the strength says nothing.
  const axis = document.getElementById("axis");
  const strength = document.getElementById("strength").closest(".field");
  function follow() { strength.hidden = !axis.value || axis.closest(".field").hidden; }
  axis.addEventListener("change", follow);
  follow();
  // The browser itself then asks for the answer before it sends.
  new MutationObserver(() => {
    for (const one of people.querySelectorAll("input")) one.required = !people.hidden;
  }).observe(people, { attributeFilter: ["hidden"] });
  take(input.files[0] ?? null);
  addEventListener("pageshow", () => go.removeAttribute("aria-disabled"));
}
