// The chat page. Streams one answer at a time, draws it block by block, keeps conversations in this browser.

import { Marked } from "./vendor/marked.esm.js";
import { open, save, all, forget, fresh } from "./chat-store.js";
import { stream } from "./chat-stream.js";
import { Paper } from "./chat-paper.js";

const root = document.getElementById("chat");
const words = JSON.parse(root.dataset.words);
const at = (id) => document.getElementById(id);
const log = at("log"), text = at("text"), model = at("model"), live = at("live");
const fill = (pattern, n) => pattern.replace("{n}", n);
const marked = new Marked({
  gfm: true,
  renderer: { image: ({ text: alt, href }) => `<a href="${encodeURI(href)}">${alt || href}</a>` },
});

let talk = null;
let running = null;

// --- drawing

function element(tag, className, content) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (content) made.textContent = content;
  return made;
}

function icon(name) {
  const from = document.querySelector("#send use").getAttribute("href").split("#")[0];
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `${from}#${name}`);
  svg.append(use);
  return svg;
}

function small(name, label, act) {
  const button = element("button", "button slim bare");
  button.type = "button";
  button.title = label;
  button.setAttribute("aria-label", label);
  button.append(icon(name));
  if (act) button.addEventListener("click", act);
  return button;
}

function drawUser(message) {
  const said = element("div", "said you");
  said.append(element("span", "sr", words.you), element("div", "text", message.content));
  log.append(said);
}

function drawAnswer(message) {
  const said = element("div", "said it");
  const prose = element("div", "prose");
  const paper = new Paper(prose, marked);
  const under = element("div", "under");
  said.append(prose, under);
  log.append(said);
  let thought = null;
  const view = {
    said,
    wait() { prose.replaceChildren(element("p", "waiting", words.waking)); },
    show() {
      if (message.reasoning) {
        if (!thought) {
          thought = element("details", "thought");
          thought.append(element("summary", "", words.thinking), element("div"));
          said.prepend(thought);
        }
        thought.lastChild.textContent = message.reasoning;
      }
      if (message.content || !message.reasoning) paper.show(message.content);
    },
    finish() {
      said.classList.remove("going");
      paper.finish(message.content);
      drawUnder(under, message);
    },
  };
  return view;
}

function drawUnder(under, message) {
  under.replaceChildren();
  if (message.error) {
    const note = element("p", "note bad", message.error);
    note.setAttribute("role", "alert");
    under.before(note);
  }
  const origin = message.origin;
  if (origin?.revision) {
    const link = element("a", "", `${origin.repo ?? message.model}@${origin.revision.slice(0, 10)}`);
    link.href = `/${origin.repo ?? message.model.split("@")[0]}/tree/${origin.revision}`;
    link.title = origin.revision;
    link.translate = false;
    under.append(link);
    if (origin.build) under.append(element("span", "", origin.build));
    if (origin.seed !== undefined) under.append(element("span", "", fill(words.seed, origin.seed)));
  }
  if (message.usage?.completion_tokens) {
    under.append(element("span", "", fill(words.tokens, message.usage.completion_tokens)));
    const seconds = message.speaking_ms / 1000;
    if (seconds > 0.2) under.append(element("span", "", fill(words.speed, (message.usage.completion_tokens / seconds).toFixed(1))));
  }
  if (message.stopped) under.append(element("span", "", words.stopped));
  if (message.reason === "length") under.append(element("span", "", words.cut));
  const copy = small("copy", words.copy);
  copy.dataset.copy = message.content || " ";
  under.append(copy);
  if (talk.messages.at(-1) === message) under.append(small("again", words.again, again));
}

function draw() {
  log.replaceChildren();
  at("hello").hidden = talk.messages.length > 0;
  at("forget").hidden = talk.messages.length === 0;
  for (const message of talk.messages) {
    if (message.role === "user") drawUser(message);
    else {
      const view = drawAnswer(message);
      view.show();
      view.finish();
    }
  }
  list();
}

function list() {
  at("talks").replaceChildren(...all().map((one) => {
    const row = element("li"), button = element("button", "", one.title || words.untitled);
    button.type = "button";
    button.translate = false;
    if (one.id === talk.id) button.setAttribute("aria-current", "true");
    button.addEventListener("click", () => { halt(); turnTo(open(one.id)); });
    row.append(button);
    return row;
  }));
}

function turnTo(other) {
  talk = other;
  if (talk.model && [...model.options].some((o) => o.value === talk.model)) model.value = talk.model;
  draw();
  down();
  text.focus();
}

const near = () => innerHeight + scrollY > document.body.scrollHeight - 160;
const down = () => scrollTo({ top: document.body.scrollHeight });

// --- talking

async function answer() {
  const message = { role: "assistant", content: "", reasoning: "", model: model.value };
  const asked = talk.messages.map(({ role, content }) => ({ role, content }));
  if (at("system").value.trim()) asked.unshift({ role: "system", content: at("system").value.trim() });
  talk.messages.push(message);
  const mine = talk, view = drawAnswer(message), abort = new AbortController();
  view.said.classList.add("going");
  view.wait();
  busy(abort);
  down();
  let frame = 0, spoken = 0, first = 0;
  const paint = () => {
    frame = 0;
    const follow = near();
    view.show();
    if (follow) down();
    spoken = announce(message.content, spoken);
  };
  const limit = Number.parseInt(at("limit").value, 10);
  const body = { model: model.value, messages: asked, temperature: Number(at("temperature").value),
    ...(limit > 0 ? { max_tokens: limit } : {}) };
  try {
    for await (const event of stream(body, abort.signal)) {
      if (event.origin) message.origin = event.origin;
      if (event.usage) message.usage = event.usage;
      if (event.reason) message.reason = event.reason;
      if (event.text || event.reasoning) {
        first ||= performance.now();
        message.content += event.text ?? "";
        message.reasoning += event.reasoning ?? "";
        frame ||= requestAnimationFrame(paint);
      }
    }
  } catch (error) {
    if (abort.signal.aborted) message.stopped = true;
    else message.error = error.told ?? (message.content ? words.lost : `${words.failed}: ${error.message}`);
  }
  cancelAnimationFrame(frame);
  message.speaking_ms = first ? performance.now() - first : 0;
  busy(null);
  view.show();
  view.finish();
  live.textContent = message.error ?? (message.stopped ? words.stopped : words.done);
  if (!save(mine)) live.textContent = words.full;
  list();
}

// Screen readers hear finished sentences, not tokens.
function announce(content, from) {
  const end = Math.max(...[". ", "! ", "? ", "。", "！", "？", "\n"].map((mark) => content.lastIndexOf(mark)));
  if (end <= from) return from;
  live.textContent = content.slice(from, end + 1).trim();
  return end + 1;
}

function busy(abort) {
  running = abort;
  at("send").hidden = Boolean(abort);
  at("stop").hidden = !abort;
  if (abort) live.textContent = words.answering;
}

function halt() {
  running?.abort();
}

function send(content) {
  if (!content.trim() || running) return;
  talk.model = model.value;
  talk.title ||= content.trim().split("\n")[0].slice(0, 80);
  const message = { role: "user", content: content.trim() };
  talk.messages.push(message);
  text.value = "";
  at("hello").hidden = true;
  at("forget").hidden = false;
  for (const button of log.querySelectorAll(".under .button:last-child:not([data-copy])")) button.remove();
  drawUser(message);
  save(talk);
  list();
  answer();
}

function again() {
  if (running || talk.messages.at(-1)?.role !== "assistant") return;
  talk.messages.pop();
  log.lastElementChild.remove();
  answer();
}

// --- listening

at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  send(text.value);
});
text.addEventListener("keydown", (event) => {
  // While an input method composes, Enter chooses a word; keyCode 229 says so where isComposing does not.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  send(text.value);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && running) halt();
});
at("stop").addEventListener("click", halt);
at("fresh").addEventListener("click", () => { halt(); turnTo(fresh()); });
at("forget").addEventListener("click", () => {
  if (!confirm(words.sure)) return;
  halt();
  forget(talk.id);
  turnTo(fresh());
});
for (const starter of document.querySelectorAll(".starter")) {
  starter.addEventListener("click", () => send(starter.textContent));
}
const temperature = at("temperature");
const tellTemperature = () => { at("temperature-said").textContent = temperature.value; };
temperature.addEventListener("input", tellTemperature);
tellTemperature();

const last = all()[0];
turnTo(root.dataset.model || !last ? fresh() : open(last.id));
if (root.dataset.model) model.value = root.dataset.model;
