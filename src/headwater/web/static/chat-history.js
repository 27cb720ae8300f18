// The list of conversations: search, folders, more as one asks for it; on a phone a drawer.

import { talks } from "./chat-api.js";
import { at, data, element, words } from "./chat-bits.js";

const PAGE = 40;

export class History {
  // open(id): a conversation was chosen. current(): the id of the one on the page.
  constructor(open, current) {
    Object.assign(this, { open, current, items: [], next: null, folder: "", asked: 0, hidden: new Set() });
    let typing;
    at("seek").addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(() => this.refresh(), 200);
    });
    at("folders").addEventListener("change", () => {
      this.folder = at("folders").value;
      this.refresh();
    });
    at("more").addEventListener("click", () => this.fetch(this.next));
    at("drawer").addEventListener("click", () => this.slide(!document.body.classList.contains("drawn")));
    at("veil").addEventListener("click", () => this.slide(false));
    at("talks").addEventListener("keydown", (event) => this.walk(event));
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && document.body.classList.contains("drawn")) this.slide(false);
    });
  }

  async refresh() {
    await this.fetch(null);
    const folders = await talks.folders().catch(() => []);
    if (this.folder && !folders.includes(this.folder)) this.folder = "";
    at("folders").replaceChildren(new Option(words.all_folders, ""), ...folders.map((name) => new Option(name, name)));
    at("folders").value = this.folder;
    at("folders").hidden = !folders.length;
    at("known-folders").replaceChildren(...folders.map((name) => new Option(name)));
  }

  async fetch(before) {
    const asked = ++this.asked, q = at("seek").value.trim();
    try {
      const found = await talks.find({ q, folder: this.folder, before, limit: PAGE });
      if (asked !== this.asked) return; // a later question was answered first
      this.items = before ? [...this.items, ...found.items] : found.items;
      this.next = found.next;
      this.draw(q);
    } catch (error) {
      at("talks-said").textContent = error.told ?? words.failed;
    }
  }

  draw(q = at("seek").value.trim()) {
    const shown = this.items.filter((one) => !this.hidden.has(one.id));
    at("talks").replaceChildren(...shown.map((one) => this.row(one, q)));
    at("more").hidden = !this.next;
    at("talks-said").textContent = shown.length ? "" : q ? words.nothing_found : words.none_yet;
  }

  row(one, q) {
    const link = data("a", "", one.title || words.untitled);
    link.href = `/chat?c=${one.id}`;
    link.title = one.title;
    if (one.id === this.current()) link.setAttribute("aria-current", "true");
    if (q && one.snippet) link.append(marked(one.snippet, q));
    else if (one.folder && !this.folder) link.append(element("small", "", one.folder));
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
      event.preventDefault();
      this.slide(false);
      this.open(one.id);
    });
    return element("li", "", link);
  }

  walk(event) {
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    const links = [...at("talks").querySelectorAll("a")];
    links[links.indexOf(document.activeElement) + (event.key === "ArrowDown" ? 1 : -1)]?.focus();
    event.preventDefault();
  }

  slide(open) {
    document.body.classList.toggle("drawn", open);
    at("drawer").setAttribute("aria-expanded", String(open));
    at("veil").hidden = !open;
    if (open) at("seek").focus();
    else if (at("drawer").offsetParent) at("drawer").focus();
  }
}

// A piece of what was said, the words that were looked for marked.
function marked(snippet, q) {
  const box = element("small"), low = snippet.toLowerCase(), wanted = q.toLowerCase();
  let from = 0;
  for (let at = low.indexOf(wanted); at >= 0 && wanted; at = low.indexOf(wanted, from)) {
    box.append(snippet.slice(from, at), element("mark", "", snippet.slice(at, at + wanted.length)));
    from = at + wanted.length;
  }
  box.append(snippet.slice(from));
  return box;
}
