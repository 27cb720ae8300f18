// Formulas in Markdown: $…$, $$…$$, \(…\), \[…\]. Finds them for marked, and draws them with Temml once there is one.

const LONGEST = 4000; // characters of a formula; also bounds the search for its end
const INLINE = [
  /^\$\$([^$]{1,4000}?)\$\$/,
  /^\$(?![\s$])((?:\\[^]|[^$\\\n]){1,4000}?)\$(?!\d)/, // "$5 and $6" is money: no space before the closing mark
  /^\\\(([^]{1,4000}?)\\\)/,
  /^\\\[([^]{1,4000}?)\\\]/,
];
const BLOCK = [/^ {0,3}\$\$([^]+?)\$\$[ \t]*(?:\n|$)/, /^ {0,3}\\\[([^]+?)\\\][ \t]*(?:\n|$)/];
const OPEN = /^ {0,3}(\$\$|\\\[)/;

export const escape = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

// Extensions of marked. paper.writing: a block that is not closed yet is kept together instead of being read as text.
export function formulas(paper) {
  return [{
    name: "texBlock", level: "block",
    start: (src) => src.match(/(?:^|\n) {0,3}(?:\$\$|\\\[)/)?.index,
    tokenizer(src) {
      for (const rule of BLOCK) {
        const match = rule.exec(src);
        if (match && match[1].length <= LONGEST) return { type: "texBlock", raw: match[0], text: match[1].trim() };
      }
      if (paper.writing && OPEN.test(src) && src.length <= LONGEST) return { type: "texBlock", raw: src, text: src, open: true };
    },
    renderer: ({ text, open }) => `<p><code class="${open ? "" : "tex show"}">${escape(text)}</code></p>`,
  }, {
    name: "tex", level: "inline",
    start: (src) => src.match(/\$|\\[([]/)?.index,
    tokenizer(src) {
      for (const [n, rule] of INLINE.entries()) {
        const match = rule.exec(src);
        if (match && !(n === 1 && /\s$/.test(match[1]))) {
          return { type: "tex", raw: match[0], text: match[1].trim(), show: n === 0 || n === 3 };
        }
      }
    },
    renderer: ({ text, show }) => `<code class="tex${show ? " show" : ""}">${escape(text)}</code>`,
  }];
}

let temml = null;

// Replaces the formulas inside by MathML; what Temml cannot read stays as it was written.
export function drawFormulas(inside) {
  const found = [...inside.querySelectorAll("code.tex")];
  if (!found.length) return;
  if (window.temml) for (const code of found) draw(code);
  else {
    temml ??= load();
    temml.then(() => found.forEach((code) => code.isConnected && draw(code)), () => { temml = null; });
  }
}

function load() {
  return new Promise((done, failed) => {
    const script = document.createElement("script"), style = document.createElement("link");
    const { maths, mathsStyle } = document.getElementById("chat").dataset;
    Object.assign(style, { rel: "stylesheet", href: mathsStyle });
    Object.assign(script, { src: maths, onload: done, onerror: failed });
    document.head.append(style, script);
  });
}

function draw(code) {
  const box = document.createElement("span");
  const show = code.classList.contains("show");
  try {
    // trust stays off: a formula makes no links, loads nothing and names no classes.
    window.temml.render(code.textContent, box, { displayMode: show, throwOnError: true, maxExpand: 500, maxSize: [20, 100] });
  } catch {
    code.classList.remove("tex");
    return;
  }
  box.className = show ? "formula show" : "formula";
  if (show) Object.assign(box, { tabIndex: 0 }).setAttribute("role", "group");
  code.replaceWith(box);
}
