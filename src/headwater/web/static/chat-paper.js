// Draws Markdown that is still being written. What is closed is drawn once; only the last block is drawn again, of a
// list only the last item, and to an open block of code only what is new is added.

import { Marked } from "./vendor/marked.esm.js";
import { drawFormulas, escape, formulas } from "./chat-maths.js";
import { colourCode, dressCode } from "./chat-code.js";

const ALLOWED = {
  ALLOWED_TAGS: ["a", "b", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "li", "ol",
    "p", "pre", "s", "strong", "sub", "sup", "table", "tbody", "td", "th", "thead", "tr", "ul"],
  ALLOWED_ATTR: ["href", "title", "start", "align", "class"],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  ADD_URI_SAFE_ATTR: ["align", "start"],
};
const CLASS = /^(tex( show)?|language-[\w+#.-]{1,30})$/;
// HTML of a model is shown as what it says, but for plain marks without attributes.
const MARKS = /<\/?(?:b|br|del|em|i|s|strong|sub|sup) ?\/?>|[&<>"]/gi;
let guarded = false;

function clean(html) {
  if (!guarded) {
    guarded = true;
    window.DOMPurify.addHook("uponSanitizeAttribute", (node, data) => {
      if (data.attrName === "class" && node.localName === "code") data.keepAttr = CLASS.test(data.attrValue);
      else if (data.attrName === "class") data.keepAttr = node.localName === "span" && /^hljs-[\w -]+$/.test(data.attrValue);
    });
  }
  return window.DOMPurify.sanitize(html, { ...ALLOWED, RETURN_DOM_FRAGMENT: true });
}

export class Paper {
  // copyButton: makes the button that stands over a block of code.
  constructor(box, copyButton) {
    this.box = box;
    this.copyButton = copyButton;
    this.read = 0; // characters given to marked so far: what drawing has cost
    this.writing = true;
    this.marked = new Marked({
      gfm: true,
      renderer: {
        html: ({ text }) => text.replace(MARKS, (mark) => (mark.length > 1 ? mark : `&#${mark.charCodeAt(0)};`)),
        image: ({ text, href }) => `<a href="${encodeURI(href)}">${escape(text || href)}</a>`,
      },
    });
    this.marked.use({ extensions: formulas(this) });
    this.clear();
  }

  clear() {
    this.box.replaceChildren();
    this.tail = ""; // the text that is not drawn for good
    this.open = []; // its nodes
    this.list = null; // the list whose earlier items are drawn for good
    this.fence = null; // {text, close}: the block of code that is being written
  }

  write(more) {
    this.tail += more;
    if (this.fence && this.goOn()) return;
    this.draw();
  }

  // The whole text at once, read as one, so that late link definitions and loose lists count.
  settle(text) {
    this.clear();
    this.tail = text;
    this.writing = false;
    this.draw();
    this.writing = true;
  }

  // Adds to an open block of code, of which the tail is the last line; false once the block has closed.
  goOn() {
    const { text, close } = this.fence, lines = this.tail.split("\n"), last = lines.findIndex((line) => close.test(line));
    const done = last >= 0 && last < lines.length - 1;
    const whole = lines.slice(0, done ? last : -1).map((line) => `${line}\n`).join("");
    // A last line that may yet close the block is held back.
    const part = done || /^ {0,3}[`~]*[ \t]*$/.test(lines.at(-1)) ? "" : lines.at(-1);
    text.appendData((whole + part).slice(this.fence.shown));
    this.fence.shown = part.length;
    this.tail = done ? lines.slice(last + 1).join("\n") : lines.at(-1);
    if (!done) return true;
    colourCode(text.parentElement);
    this.fence = null;
    return false;
  }

  draw() {
    for (const node of this.open) node.remove();
    this.open = [];
    const text = this.tail, blocks = this.marked.lexer(text);
    this.read += text.length;
    // Blank lines at the end close nothing yet: the list may go on after them.
    const end = this.writing ? blocks.findLastIndex((block) => block.type !== "space") : blocks.length;
    let at = 0;
    blocks.slice(0, end + 1).forEach((block, n) => {
      const last = n === end;
      const nodes = this.place(block, blocks.links, last);
      if (last) {
        this.open = nodes.filter((node) => node.parentNode);
        at += this.keepOpen(block, nodes, text, at);
      } else {
        at += block.raw.length;
        if (block.type !== "space") this.list = null;
      }
    });
    this.tail = text.slice(at);
  }

  // Nodes of a block, in the page. Items of a list that goes on join those that are there.
  place(block, links, last) {
    if (block.type === "space" || block.type === "def") return [];
    const part = clean(this.marked.parser(Object.assign([block], { links })));
    for (const link of part.querySelectorAll("a[href]")) Object.assign(link, { rel: "noopener noreferrer nofollow", target: "_blank" });
    dressCode(part, this.copyButton, !last || block.type !== "code");
    const top = part.firstElementChild;
    const joins = block.type === "list" && this.list?.localName === top.localName;
    const nodes = joins || block.type === "list" ? [...(joins ? top : part).children] : [...part.childNodes];
    (joins ? this.list : this.box).append(...nodes);
    for (const node of nodes) if (node.localName) drawFormulas(node);
    return nodes;
  }

  // How much of the last block is drawn for good all the same.
  keepOpen(block, nodes, text, at) {
    if (block.type === "code") return this.watch(block, nodes);
    if (block.type !== "list" || block.items.length < 2) return 0;
    const done = block.items.slice(0, -1).reduce((sum, item) => sum + item.raw.length, 0);
    if (!text.startsWith(block.items.at(-1).raw, at + done)) return 0;
    if (nodes[0].parentNode !== this.list) this.list = nodes[0];
    this.open = [this.list.lastElementChild];
    return done;
  }

  watch(block, nodes) {
    const begun = /^ {0,3}(`{3,}|~{3,})[^\n]*\n/.exec(block.raw);
    const close = begun && new RegExp(`^ {0,3}${begun[1][0]}{${begun[1].length},}[ \\t]*$`);
    const lines = begun && block.raw.slice(begun[0].length).split("\n");
    if (!begun || lines.some((line) => close.test(line))) return 0;
    const code = nodes[0].querySelector("code"), part = lines.at(-1);
    code.replaceChildren(document.createTextNode(block.raw.slice(begun[0].length)));
    this.fence = { text: code.firstChild, close, shown: part.length };
    this.open = [];
    return block.raw.length - part.length;
  }
}
