// What a screen reader is told of an answer that is being written: whole sentences, no marks, no code. Pure.

const END = /[.!?…]["')\]]?\s|[。！？]["”’」）]?|\n/g;
const FENCE = /^\s*(```|~~~)/;

export class Sentences {
  constructor() {
    this.rest = "";
    this.inCode = false;
  }

  // The sentences that are complete with what has come, as plain words.
  feed(more) {
    this.rest += more;
    let end = 0;
    const found = [];
    for (const match of this.rest.matchAll(END)) {
      const upTo = match.index + match[0].length;
      found.push(this.take(this.rest.slice(end, upTo)));
      end = upTo;
    }
    this.rest = this.rest.slice(end);
    return found.filter(Boolean);
  }

  // What is left when the answer has ended.
  close() {
    const last = this.take(this.rest);
    this.rest = "";
    return last ? [last] : [];
  }

  take(piece) {
    if (FENCE.test(piece)) this.inCode = !this.inCode;
    else if (!this.inCode) return plain(piece);
    return "";
  }
}

function plain(piece) {
  const words = piece.replace(/!?\[([^\]]*)\]\([^)]*\)/g, "$1").replace(/^\s*(#+|[-*+>]|\d+\.)\s/, "").replace(/[*_`|]+/g, "");
  return /[\p{L}\p{N}]/u.test(words) ? words.trim() : "";
}
