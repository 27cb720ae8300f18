// Files for the next question: chosen, dropped or pasted, sent to /v1/files at once, shown above the field.

import { files } from "./chat-api.js";
import { at, button, data, element, fill, thumbnail, words } from "./chat-bits.js";

const MOST = 10;
const TEXT = /^(text\/|application\/(json|xml|x-yaml|yaml|javascript|toml))|^$/;

export class Attached {
  // changed(): the list is another one, or a file has arrived.
  constructor(changed) {
    this.changed = changed;
    this.list = [];
    at("attach").addEventListener("click", () => at("chosen").click());
    at("chosen").addEventListener("change", () => {
      this.take([...at("chosen").files]);
      at("chosen").value = "";
    });
    at("text").addEventListener("paste", (event) => {
      const pasted = [...(event.clipboardData?.files ?? [])];
      if (pasted.length) event.preventDefault();
      this.take(pasted);
    });
    const place = document.querySelector(".talk");
    place.addEventListener("dragover", (event) => {
      if (![...event.dataTransfer.types].includes("Files")) return;
      event.preventDefault();
      place.classList.add("over");
    });
    place.addEventListener("dragleave", (event) => { if (!place.contains(event.relatedTarget)) place.classList.remove("over"); });
    place.addEventListener("drop", (event) => {
      place.classList.remove("over");
      if (!event.dataTransfer.files.length) return;
      event.preventDefault();
      this.take([...event.dataTransfer.files]);
    });
  }

  take(chosen) {
    for (const file of chosen.slice(0, MOST - this.list.length)) this.add(file);
    this.draw();
  }

  add(file) {
    const one = { name: file.name || "image.png", type: file.type, bytes: file.size, file, id: null, problem: "" };
    this.list.push(one);
    if (!/^image\/(png|jpeg|webp|gif)$/.test(file.type) && file.type !== "application/pdf" && !TEXT.test(file.type)) {
      one.problem = words.kind_of_file;
      return;
    }
    one.sent = files.send(file).then((kept) => { one.id = kept.id; }, (error) => { one.problem = error.told ?? words.failed; })
      .then(() => this.draw());
  }

  get pictures() {
    return this.list.some((one) => one.type.startsWith("image/"));
  }

  get problem() {
    return this.list.find((one) => one.problem)?.problem ?? "";
  }

  // Waits until every file has arrived; answers what a message says of them and empties the list.
  async hand() {
    await Promise.all(this.list.map((one) => one.sent));
    const handed = this.list.filter((one) => one.id).map(({ id, name, type, bytes }) => ({ id, name, type, bytes }));
    this.list = [];
    this.draw();
    return handed;
  }

  draw() {
    at("files").hidden = !this.list.length;
    at("files").replaceChildren(...this.list.map((one) => {
      const row = element("li", one.problem ? "bad" : one.id ? "" : "sending", data("span", "", one.name));
      if (one.problem) row.append(element("span", "small", one.problem));
      if (one.type.startsWith("image/")) thumbnail(one.file, one.name).then((picture) => row.prepend(picture), () => {});
      row.append(button("cross", fill(words.leave_out, { name: one.name }), () => {
        this.list.splice(this.list.indexOf(one), 1);
        this.draw();
        at("text").focus();
      }));
      return row;
    }));
    this.changed();
  }
}
