// The chat page: one conversation at a time, kept by the hub; answers stream on while one looks at another.

import { model as facts, talks } from "./chat-api.js";
import { answer } from "./chat-answer.js";
import { Attached } from "./chat-files.js";
import { History } from "./chat-history.js";
import { bringOver } from "./chat-import.js";
import { Log } from "./chat-log.js";
import { Models } from "./chat-models.js";
import { request } from "./chat-request.js";
import { Sentences } from "./chat-speech.js";
import { Tree, identity, textOf } from "./chat-tree.js";
import { Tuning } from "./chat-tune.js";
import { about } from "./chat-about.js";
import { at, count, element, fill, settleUndo, unlessUndone, words } from "./chat-bits.js";

const root = at("chat"), text = at("text");
const channel = new BroadcastChannel("headwater.chat");
const running = new Map(); // conversations with an answer on its way, by id: one can leave and come back
let talk = fresh();

// --- conversations

function fresh() {
  return { id: null, title: "", folder: "", system: "", model: "", settings: {}, share: null, tree: new Tree(), leaf: null };
}

function read({ messages, ...said }) {
  const tree = new Tree(messages.map((one) => ({ ...one, made: one.made ?? {}, reasoning: one.reasoning ?? "", kept: true })));
  const leaf = tree.get(said.leaf) ? said.leaf : tree.tip(tree.children(null).at(-1)?.id);
  return { ...said, settings: said.settings ?? {}, tree, leaf };
}

async function open(id, push = true) {
  try {
    turnTo(running.get(id) ?? read(await talks.get(id)), push);
  } catch (error) {
    turnTo(fresh(), push);
    note(error.told ?? words.failed);
  }
}

function turnTo(other, push = true) {
  keepDraft();
  talk = other;
  const place = talk.id ? `/chat?c=${talk.id}` : "/chat";
  if (push && location.pathname + location.search !== place) window.history.pushState(null, "", place);
  models.show(talk.settings.models?.length ? talk.settings.models : [talk.model].filter(Boolean));
  tuning.values = { ...talk.settings, system: talk.system };
  text.value = sessionStorage.getItem(`draft ${talk.id}`) ?? "";
  note("");
  draw();
  down();
  if (matchMedia("(hover: hover)").matches) text.focus();
}

// The conversation on the hub; made there with the first question.
async function kept(one) {
  one.making ??= one.id ? Promise.resolve() : talks.make({
    title: one.title, folder: one.folder, system: one.system, model: one.model, settings: one.settings,
  }).then(({ id }) => {
    one.id = id;
    if (talk === one) window.history.replaceState(null, "", `/chat?c=${id}`);
  });
  await one.making.catch((error) => { one.making = null; throw error; });
  return one.id;
}

async function save(one, node, last = false) {
  try {
    const { id, parent, role, content, reasoning, model, made } = node;
    await talks.say(await kept(one), { id, parent, role, content, reasoning: reasoning || undefined, model, made }, last);
    node.kept = true;
    if (node.made.group) await talks.change(one.id, { leaf: one.leaf });
    channel.postMessage(one.id);
  } catch (error) {
    if (talk === one) note(`${words.not_kept} ${error.told ?? ""}`);
  }
}

let changing;
function settle() {
  const { system, ...settings } = tuning.values;
  Object.assign(talk, { system, model: models.first, settings: { ...settings, models: models.names } });
  clearTimeout(changing);
  const one = talk;
  if (one.id) changing = setTimeout(() => change(one, { system, model: one.model, settings: one.settings }), 500);
}

async function change(one, given) {
  try {
    await talks.change(one.id, given);
    channel.postMessage(one.id);
  } catch (error) {
    note(error.told ?? words.failed);
  }
}

// --- drawing

function draw() {
  log.draw(talk);
  at("hello").hidden = talk.tree.size > 0;
  at("name").textContent = talk.title;
  at("name").hidden = !talk.title;
  at("menu").hidden = !talk.id;
  busy();
  gauge();
  past.draw();
}

function note(said) {
  at("note").hidden = !said;
  at("note").textContent = said;
}

const going = (one) => [...one.tree.nodes.values()].filter((node) => node.going);

function busy() {
  const now = going(talk).length > 0;
  at("send").hidden = now;
  at("stop").hidden = !now;
}

async function gauge() {
  const mine = talk, usage = talk.tree.path(talk.leaf).findLast((node) => node.made?.usage)?.made.usage;
  const used = usage ? usage.prompt + usage.completion : 0;
  let said = await facts(models.first);
  if (used && !said.loaded) said = await facts(models.first, true); // by now it is, and says how much it was given
  if (talk !== mine) return;
  const room = said.loaded?.context ?? Math.min(said.context_length || Infinity, Number(root.dataset.context) || Infinity);
  at("gauge").hidden = !used || !Number.isFinite(room);
  if (at("gauge").hidden) return;
  Object.assign(at("gauge").querySelector("meter"), { max: room, high: room * 0.85, value: used });
  at("gauge").querySelector("span").textContent = fill(words.context, { n: count(used), m: count(room) });
  at("gauge").classList.toggle("full", used > room * 0.85);
}

const near = () => innerHeight + scrollY > document.body.scrollHeight - 160;
const down = () => scrollTo({ top: document.body.scrollHeight });

function announce(sentences) {
  for (const one of sentences) at("live").append(element("p", "", one));
  while (at("live").childElementCount > 12) at("live").firstElementChild.remove();
}

// --- talking

async function answerTo(question, names) {
  const one = talk, group = names.length > 1 ? identity() : undefined;
  const asked = one.tree.path(question.id);
  const nodes = names.map((name, column) => one.tree.add({
    id: identity(), parent: question.id, role: "assistant", content: "", reasoning: "", model: name,
    made: group ? { group, column } : {}, going: new AbortController(),
  }));
  one.leaf = group ? question.id : nodes[0].id;
  draw();
  down();
  announce([words.answering]);
  const given = { ...one.settings, system: one.system };
  await Promise.all(nodes.map((node) => speak(one, node, request(node.model, asked, given), !group)));
  running.delete(one.id);
  if (talk === one) draw();
  past.refresh();
}

async function speak(one, node, body, aloud) {
  const sentences = new Sentences();
  let waiting = 0, heard = 0, next = 0;
  const paint = () => {
    waiting = 0;
    const begun = performance.now(), follow = near();
    log.progress(node);
    if (follow && talk === one) down();
    if (aloud && talk === one) announce(sentences.feed(node.content.slice(heard)));
    heard = node.content.length;
    next = performance.now() + 3 * (performance.now() - begun); // drawing takes a quarter of the time at most
  };
  const changed = () => {
    waiting ||= performance.now() < next ? setTimeout(paint, next - performance.now()) : requestAnimationFrame(paint);
  };
  if (one.id) running.set(one.id, one);
  await answer(node, body, node.going.signal, words, changed);
  clearTimeout(waiting);
  cancelAnimationFrame(waiting);
  delete node.going;
  log.finish(node);
  if (aloud && talk === one) announce([...sentences.feed(node.content.slice(heard)), ...sentences.close()]);
  if (talk === one) announce([node.error ?? (node.made.reason === "stopped" ? words.stopped : words.done)]);
  if (node.content || node.reasoning) await save(one, node);
}

// Why the question cannot be asked of these models, or "".
async function obstacle(names, pictures) {
  if (tuning.problem) return tuning.problem;
  if (attached.problem) return attached.problem;
  if (!pictures) return "";
  for (const name of names) {
    const { modalities } = await facts(name);
    const seen = modalities?.input ?? modalities;
    if (Array.isArray(seen) && !seen.includes("image")) return fill(words.blind, { model: name });
  }
  return "";
}

const pictured = (path) => path.some((node) => node.made?.files?.some((file) => file.type.startsWith("image/")));

async function send(said) {
  const names = models.names, wanted = said.trim();
  if ((!wanted && !attached.list.length) || going(talk).length) return;
  const leaf = talk.tree.get(talk.leaf);
  if (leaf && talk.tree.rivals(leaf.id).length) return note(words.pick_first);
  const problem = await obstacle(names, attached.pictures || pictured(talk.tree.path(talk.leaf)));
  note(problem);
  if (problem) return;
  text.value = "";
  keepDraft();
  const handed = await attached.hand();
  // A question that nobody answered is put anew, so that question and answer take turns.
  await ask({ parent: leaf?.role === "user" ? leaf.parent : talk.leaf, content: content(wanted, handed), files: handed }, names);
}

function content(wanted, handed) {
  if (!handed.length) return wanted;
  return [...handed.map(({ id }) => ({ type: "file", file: { file_id: id } })), ...(wanted ? [{ type: "text", text: wanted }] : [])];
}

async function ask({ parent, content: said, files = [] }, names) {
  settle();
  talk.title ||= (textOf(said).trim().split("\n")[0] || files[0]?.name || "").slice(0, 80);
  const made = files.length ? { files } : {};
  const question = talk.tree.add({ id: identity(), parent, role: "user", content: said, reasoning: "", model: "", made });
  talk.leaf = question.id;
  const one = talk;
  const saved = save(one, question);
  await Promise.all([answerTo(question, names), saved.then(() => { if (going(one).length) running.set(one.id, one); past.refresh(); })]);
}

// --- acts on what was said

const acts = {
  ask: (question) => { if (!going(talk).length) answerTo(question, models.names); },
  async edit(node, said) {
    if (going(talk).length) return;
    const problem = await obstacle(models.names, pictured(talk.tree.path(node.id)));
    note(problem);
    if (problem) return;
    const files = node.made?.files ?? [];
    ask({ parent: node.parent, content: content(said, files), files }, models.names);
  },
  again(node) {
    if (going(talk).length) return;
    const question = talk.tree.get(node.parent);
    if (!node.kept) talk.tree.remove(node.id); // it never came to anything
    answerTo(question, [models.first]);
  },
  pick(node) {
    if (going(talk).length) return;
    moveTo(node.id);
    models.show([node.model]);
    settle();
    text.focus();
  },
  turn(node, by) {
    moveTo(talk.tree.tip(talk.tree.step(node, by).id));
    const label = by < 0 ? words.earlier : words.later;
    [...at("log").querySelectorAll(".turns .button")].find((one) => one.title === label && !one.disabled)?.focus();
  },
  remove(node) {
    const one = talk, leaf = talk.leaf, gone = one.tree.remove(node.id);
    for (const each of gone) each.going?.abort();
    const beside = one.tree.children(node.parent).at(-1);
    if (!one.tree.get(leaf)) one.leaf = beside ? one.tree.tip(beside.id) : node.parent;
    draw();
    if (!node.kept) return;
    unlessUndone(words.said_gone, async (last) => {
      await talks.unsay(one.id, node.id, last).catch((error) => note(error.told ?? words.failed));
      if (!last) await change(one, { leaf: one.leaf });
    }, () => {
      for (const each of gone) one.tree.add(each);
      one.leaf = leaf;
      if (talk === one) draw();
    });
  },
};

function moveTo(leaf) {
  talk.leaf = leaf;
  draw();
  if (talk.id) change(talk, { leaf });
}

function removeTalk() {
  const one = talk;
  for (const node of going(one)) node.going.abort();
  past.hidden.add(one.id);
  turnTo(fresh());
  unlessUndone(words.talk_gone, async (last) => {
    await talks.remove(one.id, last).catch((error) => note(error.told ?? words.failed));
    past.refresh();
    channel.postMessage(one.id);
  }, () => {
    past.hidden.delete(one.id);
    turnTo(one);
  });
}

function keepDraft() {
  const key = `draft ${talk.id}`;
  if (text.value) sessionStorage.setItem(key, text.value);
  else sessionStorage.removeItem(key);
}

// --- the parts, and listening

const log = new Log(at("log"), acts);
const past = new History((id) => open(id), () => talk.id);
const attached = new Attached(() => note(attached.problem));
const models = new Models(() => { settle(); gauge(); });
const tuning = new Tuning(settle, () => {
  const question = text.value.trim() ? [{ role: "user", content: text.value.trim() }] : [];
  const path = talk.tree.path(talk.leaf).filter((node) => !node.error);
  while (!question.length && path.at(-1)?.role === "assistant") path.pop(); // else the model would go on with its answer
  return { model: models.first, path: question.length || path.length ? [...path, ...question] : [{ role: "user", content: words.hello }] };
});
about(() => talk, (given) => {
  Object.assign(talk, given);
  draw();
  change(talk, given).then(() => past.refresh());
}, removeTalk);

const stop = () => { for (const node of going(talk)) node.going.abort(); };

at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  send(text.value);
});
text.addEventListener("input", keepDraft);
text.addEventListener("keydown", (event) => {
  if (event.key === "ArrowUp" && !text.value && !event.isComposing) {
    const mine = [...at("log").querySelectorAll(".said.you .under")].at(-1);
    mine?.querySelector("[data-edit]")?.click();
    if (mine) event.preventDefault();
  }
  // While an input method composes, Enter chooses a word; keyCode 229 says so where isComposing does not.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  send(text.value);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && going(talk).length) stop();
  if (!(event.ctrlKey || event.metaKey)) return;
  if (event.key === "k") {
    event.preventDefault();
    if (at("drawer").offsetParent) past.slide(true);
    at("seek").focus();
  } else if (event.shiftKey && event.key.toLowerCase() === "o") {
    event.preventDefault();
    turnTo(fresh());
  }
});
at("stop").addEventListener("click", stop);
at("fresh").addEventListener("click", () => { past.slide(false); turnTo(fresh()); });
for (const starter of document.querySelectorAll(".starter")) starter.addEventListener("click", () => send(starter.textContent));
addEventListener("popstate", () => start(false));
addEventListener("pagehide", () => {
  settleUndo(true);
  for (const one of running.values()) {
    for (const node of going(one)) {
      if (node.content) save(one, { ...node, content: node.content.slice(0, 15_000), made: { ...node.made, reason: "stopped" } }, true);
    }
  }
});
channel.addEventListener("message", ({ data: id }) => {
  past.refresh();
  if (id === talk.id && !going(talk).length && !at("log").querySelector(".rewrite")) refreshTalk(id);
});

async function refreshTalk(id) {
  const found = await talks.get(id).then(read, () => null);
  if (!found || talk.id !== id || going(talk).length) return;
  talk = found;
  draw();
}

function start(push) {
  const id = new URLSearchParams(location.search).get("c");
  if (id) open(id, push);
  else turnTo(fresh(), false);
}

// What was typed before the scripts were here stays.
function begin() {
  const typed = text.value, settings = tuning.values;
  start(false);
  if (talk.id || new URLSearchParams(location.search).has("c")) return;
  tuning.values = settings;
  text.value ||= typed;
}

if (root.dataset.model) models.show([root.dataset.model]);
tuning.load();
begin();
if (await bringOver().catch(() => false)) channel.postMessage(null);
past.refresh();
