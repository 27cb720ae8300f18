// Blocks of code: a line that names the language and copies, and colours, which come when the first block needs them.

const NAMES = {
  bash: "bash", sh: "bash", shell: "bash", zsh: "bash", console: "bash", c: "c", h: "c", cpp: "cpp", "c++": "cpp", cc: "cpp",
  css: "css", diff: "diff", patch: "diff", go: "go", golang: "go", java: "java", javascript: "javascript", js: "javascript",
  mjs: "javascript", jsx: "javascript", json: "json", jsonl: "json", python: "python", py: "python", python3: "python",
  rust: "rust", rs: "rust", sql: "sql", typescript: "typescript", ts: "typescript", tsx: "typescript", html: "xml", xml: "xml",
  svg: "xml", yaml: "yaml", yml: "yaml",
};
const LONGEST = 50_000; // characters that are coloured; grammars are regular expressions without a clock
const SPANS = { ALLOWED_TAGS: ["span"], ALLOWED_ATTR: ["class"], RETURN_DOM_FRAGMENT: true };
let core = null;

async function grammar(name) {
  core ??= import("./vendor/highlight/core.js");
  const { default: hljs } = await core;
  if (!hljs.getLanguage(name)) {
    const { default: language } = await import(`./vendor/highlight/${name}.js`);
    hljs.registerLanguage(name, language);
  }
  return hljs;
}

// Puts a head over each <pre> inside. whole: the block is closed, so it can be coloured.
export function dressCode(inside, copyButton, whole) {
  for (const pre of inside.querySelectorAll("pre")) {
    const code = pre.firstElementChild;
    if (!code || pre.parentElement?.classList.contains("block")) continue;
    const said = /(?:^| )language-(\S+)/.exec(code.className)?.[1] ?? "";
    const box = document.createElement("div"), head = document.createElement("div"), name = document.createElement("span");
    box.className = "block";
    head.className = "head-line";
    name.textContent = said;
    name.translate = false;
    head.append(name, copyButton());
    pre.replaceWith(box);
    pre.tabIndex = 0;
    box.append(head, pre);
    if (whole) colourCode(code);
  }
}

// Colours a closed block; without a known language, or the network, it stays plain.
export async function colourCode(code) {
  const said = /(?:^| )language-(\S+)/.exec(code.className)?.[1] ?? "", language = NAMES[said.toLowerCase()];
  if (!language || code.textContent.length > LONGEST) return;
  const hljs = await grammar(language).catch(() => null);
  if (!hljs) return;
  const html = hljs.highlight(code.textContent, { language, ignoreIllegals: true }).value;
  code.replaceChildren(window.DOMPurify.sanitize(html, SPANS));
}
