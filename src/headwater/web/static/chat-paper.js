// Draws Markdown that is still being written. Blocks that are closed are drawn once; only the last is drawn again.

const ALLOWED = {
  ALLOWED_TAGS: ["a", "b", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "li", "ol",
    "p", "pre", "s", "strong", "sub", "sup", "table", "tbody", "td", "th", "thead", "tr", "ul"],
  ALLOWED_ATTR: ["href", "title", "start", "align"],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
};

export class Paper {
  constructor(box, marked) {
    this.box = box;
    this.marked = marked;
    this.closed = 0; // characters of the text that are drawn for good
    this.open = []; // nodes of the block still being written
    this.began = false;
  }

  show(text) {
    if (!this.began) {
      this.box.replaceChildren();
      this.began = true;
    }
    const blocks = this.marked.lexer(text.slice(this.closed));
    for (const node of this.open) node.remove();
    this.open = [];
    blocks.forEach((block, n) => {
      const nodes = this.draw(block, blocks.links);
      if (n < blocks.length - 1) this.closed += block.raw.length;
      else this.open = nodes;
    });
  }

  // What was drawn piece by piece is drawn once as a whole, so that late link definitions count.
  finish(text) {
    this.began = false;
    this.closed = 0;
    this.open = [];
    this.show(text);
  }

  draw(block, links) {
    if (block.type === "space" || block.type === "def") return [];
    const html = this.marked.parser(Object.assign([block], { links }));
    const part = window.DOMPurify.sanitize(html, { ...ALLOWED, RETURN_DOM_FRAGMENT: true });
    for (const link of part.querySelectorAll("a[href]")) {
      link.rel = "noopener noreferrer nofollow";
      link.target = "_blank";
    }
    for (const pre of part.querySelectorAll("pre")) pre.tabIndex = 0;
    const nodes = [...part.childNodes];
    this.box.append(part);
    return nodes;
  }
}
