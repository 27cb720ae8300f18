// Which models answer: one, or up to four side by side.

import { at, button, fill, words } from "./chat-bits.js";

const MOST = 4, LAST = "headwater.model";

export class Models {
  constructor(changed) {
    this.changed = changed;
    this.main = at("model");
    const last = localStorage.getItem(LAST);
    if (this.knows(last) && !at("chat").dataset.model) this.main.value = last;
    this.main.addEventListener("change", () => this.tell());
    at("add-model").addEventListener("click", () => {
      const taken = this.names;
      this.put([...this.main.options].map((one) => one.value).find((one) => !taken.includes(one)) ?? taken[0]).focus();
      this.tell();
    });
  }

  knows(name) {
    return [...this.main.options].some((one) => one.value === name);
  }

  get all() {
    return [this.main, ...at("more-models").querySelectorAll("select")];
  }

  get names() {
    return this.all.map((one) => one.value);
  }

  get first() {
    return this.main.value;
  }

  // Those of the names that are here; without any, what is chosen stays.
  show(names) {
    const known = names.filter((one) => this.knows(one)).slice(0, MOST);
    at("more-models").replaceChildren();
    if (known.length) this.main.value = known[0];
    for (const name of known.slice(1)) this.put(name);
    this.full();
  }

  put(name) {
    const select = this.main.cloneNode(true), row = document.createElement("span");
    select.removeAttribute("id");
    select.setAttribute("aria-label", fill(words.model_n, { n: this.all.length + 1 }));
    select.addEventListener("change", () => this.tell());
    row.append(select, button("cross", words.without, () => {
      row.remove();
      this.tell();
      at("add-model").focus();
    }));
    at("more-models").append(row);
    select.value = name;
    return select;
  }

  full() {
    at("add-model").hidden = this.all.length >= MOST;
    at("models").classList.toggle("several", this.all.length > 1);
  }

  tell() {
    this.full();
    localStorage.setItem(LAST, this.first);
    this.changed();
  }
}
