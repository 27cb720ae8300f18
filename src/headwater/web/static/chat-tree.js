// The messages of a conversation as a tree: a question asked anew and an answer made again are siblings. Pure.

export class Tree {
  // messages: nodes {id, parent, role, …}, each after its parent.
  constructor(messages = []) {
    this.nodes = new Map();
    this.below = new Map([[null, []]]);
    for (const one of messages) this.add(one);
  }

  get(id) {
    return this.nodes.get(id) ?? null;
  }

  get size() {
    return this.nodes.size;
  }

  add(node) {
    if (this.nodes.has(node.id)) return this.nodes.get(node.id);
    node.parent = this.nodes.has(node.parent) ? node.parent : null;
    this.nodes.set(node.id, node);
    this.below.set(node.id, []);
    this.below.get(node.parent).push(node);
    return node;
  }

  children(id) {
    return this.below.get(id ?? null) ?? [];
  }

  siblings(node) {
    return this.children(node.parent);
  }

  // From the first message to the one that is named; empty without one.
  path(id) {
    const found = [];
    for (let node = this.get(id); node; node = this.get(node.parent)) found.unshift(node);
    return found;
  }

  // Where one goes on after turning to a message: at what was said last below it; before a choice still open.
  tip(id) {
    const newest = [...this.nodes.values()].findLast((node) => this.under(node, id));
    return newest && this.rivals(newest.parent).includes(newest) ? newest.parent : newest?.id ?? null;
  }

  under(node, id) {
    let one = node;
    while (one && one.id !== id) one = this.get(one.parent);
    return Boolean(one);
  }

  // The sibling so many steps on, or the node itself at either end.
  step(node, by) {
    const all = this.siblings(node);
    return all[Math.min(all.length - 1, Math.max(0, all.indexOf(node) + by))];
  }

  // Answers of one question by several models, side by side, of which none was gone on with. Empty when it is no choice.
  rivals(id) {
    const all = this.children(id), group = all.at(-1)?.made?.group;
    const found = group ? all.filter((one) => one.made.group === group) : [];
    if (found.length < 2 || found.some((one) => this.children(one.id).length)) return [];
    return found.sort((a, b) => (a.made.column ?? 0) - (b.made.column ?? 0)); // kept in the order they were done in
  }

  // Takes a message and all below it out; answers them, parents first.
  remove(id) {
    const node = this.get(id);
    if (!node) return [];
    const gone = [node];
    for (let n = 0; n < gone.length; n++) gone.push(...this.children(gone[n].id));
    const beside = this.children(node.parent);
    beside.splice(beside.indexOf(node), 1);
    for (const one of gone) {
      this.nodes.delete(one.id);
      this.below.delete(one.id);
    }
    return gone;
  }
}

export function identity() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// The words of a message, whose content is a string or parts.
export function textOf(content) {
  if (typeof content === "string") return content;
  return (content ?? []).filter((part) => part.type === "text").map((part) => part.text).join("\n");
}
