// Small pieces the parts of the chat page are made of.

const root = document.getElementById("chat");
export const words = JSON.parse(root.dataset.words);
export const language = document.documentElement.lang;
export const at = (id) => document.getElementById(id);

// fill("{n} of {m}", {n: 2, m: 3})
export const fill = (pattern, given) => pattern.replace(/\{(\w+)\}/g, (all, name) => given[name] ?? all);
export const count = (n) => Number(n).toLocaleString(language);

export function element(tag, className, ...inside) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...inside);
  return made;
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `${root.dataset.icons}#${name}`);
  svg.append(use);
  return svg;
}

export function button(name, label, act) {
  const made = element("button", "button slim bare", icon(name));
  Object.assign(made, { type: "button", title: label });
  made.setAttribute("aria-label", label);
  if (act) made.addEventListener("click", act);
  return made;
}

// site.js copies what data-copy holds, or when it is empty the code beside the button.
export function copyButton(text = "") {
  const made = button("copy", words.copy);
  made.dataset.copy = text;
  if (!text) made.addEventListener("click", () => { made.dataset.copy = made.closest(".block").querySelector("code").textContent; });
  return made;
}

export function data(tag, className, text) {
  const made = element(tag, className, text);
  made.translate = false;
  return made;
}

// A picture drawn from its bytes: the policy of the pages lets no image be loaded that is not a file of the hub.
export async function thumbnail(blob, alt) {
  const picture = await createImageBitmap(blob);
  const shrink = Math.min(1, 320 / Math.max(picture.width, picture.height));
  const canvas = element("canvas", "thumb");
  canvas.width = Math.max(1, Math.round(picture.width * shrink));
  canvas.height = Math.max(1, Math.round(picture.height * shrink));
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  picture.close();
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", alt);
  return canvas;
}

let undoing = null;

// Does `act` after a moment in which it can be taken back; at once when something else is to be undone or the page goes.
export function unlessUndone(text, act, back) {
  settleUndo();
  const bar = at("undo");
  const end = (then) => {
    clearTimeout(undoing?.timer);
    undoing = null;
    bar.hidden = true;
    then();
  };
  undoing = { now: (last) => end(() => act(last)), timer: setTimeout(() => end(() => act(false)), 7000) };
  bar.querySelector("span").textContent = text;
  bar.querySelector("button").onclick = () => end(back);
  bar.hidden = false;
}

export function settleUndo(last = false) {
  undoing?.now(last);
}
