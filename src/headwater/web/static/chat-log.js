// What was said, as it stands on the page: questions, answers, answers side by side. Asks `acts` for everything else.

import { Paper } from "./chat-paper.js";
import { textOf } from "./chat-tree.js";
import { files } from "./chat-api.js";
import { button, copyButton, count, data, element, fill, thumbnail, words } from "./chat-bits.js";

export class Log {
  // acts: ask(question), edit(node, text), again(node), pick(node), turn(node, by), remove(node).
  constructor(box, acts) {
    this.box = box;
    this.acts = acts;
    this.views = new Map();
  }

  draw(talk) {
    this.views.clear();
    const path = talk.tree.path(talk.leaf), last = path.at(-1), rivals = last ? talk.tree.rivals(last.id) : [];
    const parts = path.map((node) => this.part(talk, node));
    if (rivals.length) parts.push(this.columns(talk, rivals));
    else if (last?.role === "user") parts.push(this.unanswered(last));
    this.box.replaceChildren(...parts);
  }

  part(talk, node, beside = false) {
    return node.role === "user" ? this.question(talk, node) : this.answer(talk, node, beside);
  }

  columns(talk, rivals) {
    const row = element("div", "beside");
    row.append(...rivals.map((node) => this.part(talk, node, true)));
    return row;
  }

  unanswered(node) {
    const row = element("p", "unanswered"), go = element("button", "button slim", words.again);
    go.type = "button";
    go.addEventListener("click", () => this.acts.ask(node));
    row.append(go);
    return row;
  }

  question(talk, node) {
    const text = textOf(node.content);
    const said = element("div", "said you", element("span", "sr", words.you));
    if (node.made?.files?.length) said.append(attached(node.made.files));
    if (text) said.append(element("div", "text", text));
    const under = element("div", "under", ...this.turns(talk, node),
      editing(() => this.rewrite(said, node)), copyButton(text || " "),
      button("bin", words.remove_said, () => this.acts.remove(node)));
    said.append(under);
    return said;
  }

  rewrite(said, node) {
    const form = element("form", "rewrite"), area = element("textarea"), row = element("div", "row");
    const send = element("button", "button slim first", words.ask_anew), leave = element("button", "button slim", words.cancel);
    area.value = textOf(node.content);
    area.setAttribute("aria-label", words.edit);
    leave.type = "button";
    const close = () => { form.replaceWith(...held); said.querySelector("[data-edit]").focus(); };
    leave.addEventListener("click", close);
    area.addEventListener("keydown", (event) => {
      if (event.key === "Escape") { event.stopPropagation(); close(); }
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.isComposing) form.requestSubmit();
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (area.value.trim()) this.acts.edit(node, area.value.trim());
    });
    row.append(leave, send);
    form.append(area, row);
    const held = [...said.querySelectorAll(".text, .under")];
    held[0].replaceWith(form);
    held[1]?.remove();
    area.focus();
  }

  answer(talk, node, beside) {
    const said = element("article", "said it"), prose = element("div", "prose"), under = element("div", "under");
    said.setAttribute("aria-label", fill(words.answer_of, { model: node.model }));
    if (beside || node.made?.group) said.append(data("p", "who-spoke", node.model));
    said.append(prose, under);
    const view = { node, said, prose, under, beside, talk, paper: new Paper(prose, copyButton), shown: 0, thought: null };
    this.views.set(node.id, view);
    if (node.going) this.progress(node);
    else this.finish(node);
    return said;
  }

  // Draws what is new of an answer that is being written.
  progress(node) {
    const view = this.views.get(node.id);
    if (!view) return;
    view.said.classList.add("going");
    this.think(view);
    if (node.content.length > view.shown) {
      if (!view.shown) view.paper.clear();
      view.paper.write(node.content.slice(view.shown));
      view.shown = node.content.length;
    } else if (!view.shown) {
      const waiting = node.place ? fill(words.place, { n: count(node.place) }) : node.made.revision ? "" : words.waking;
      view.prose.replaceChildren(...(waiting ? [element("p", "waiting", waiting)] : []));
    }
  }

  think(view) {
    const { node } = view;
    if (!node.reasoning) return;
    if (!view.thought) {
      view.thought = element("details", "thought", element("summary"), element("div"));
      view.prose.before(view.thought);
    }
    const thinking = node.going && !node.content, [summary, all] = view.thought.children;
    const seconds = Math.max(1, Math.round(node.made?.thought_s ?? 0));
    const said = element("span", "", fill(thinking ? words.thinking : words.thought, { n: count(seconds) }));
    // While it thinks, its latest line runs along, so that one sees it does.
    const line = thinking ? node.reasoning.slice(-300).trim().split("\n").at(-1) : "";
    summary.replaceChildren(said, ...(line ? [" ", data("span", "line", line.slice(-120))] : []));
    if (all.textContent.length !== node.reasoning.length) all.append(node.reasoning.slice(all.textContent.length));
  }

  finish(node) {
    const view = this.views.get(node.id);
    if (!view) return;
    view.said.classList.remove("going");
    this.think(view);
    view.paper.settle(textOf(node.content));
    view.said.querySelector(".note")?.remove();
    if (node.error) {
      const note = element("p", "note bad", node.error);
      note.setAttribute("role", "alert");
      view.under.before(note);
    }
    view.said.querySelectorAll(".heed").forEach((old) => old.remove());
    for (const warning of node.made?.warnings ?? []) view.under.before(data("p", "heed small faint", warning));
    const tools = [copyButton(textOf(node.content) || " "), button("again", words.again, () => this.acts.again(node)),
      button("bin", words.remove_said, () => this.acts.remove(node))];
    view.under.replaceChildren(...(view.beside ? [this.choose(node)] : this.turns(view.talk, node)), ...tools, ...receipt(node));
  }

  choose(node) {
    const pick = element("button", "button slim pick", words.pick);
    pick.type = "button";
    pick.addEventListener("click", () => this.acts.pick(node));
    return pick;
  }

  // "‹ 2 / 3 ›" where there are several.
  turns(talk, node) {
    const all = talk.tree.siblings(node), n = all.indexOf(node);
    if (all.length < 2) return [];
    const box = element("span", "turns");
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", words.versions);
    const back = button("left", words.earlier, () => this.acts.turn(node, -1)), on = button("right", words.later, () => this.acts.turn(node, 1));
    back.disabled = n === 0;
    on.disabled = n === all.length - 1;
    box.append(back, data("span", "", `${n + 1} / ${all.length}`), on);
    return [box];
  }
}

function receipt(node) {
  const made = node.made ?? {}, repo = made.repo ?? node.model?.split("@")[0], found = [];
  if (made.revision) {
    const link = data("a", "", `${repo}@${made.revision.slice(0, 10)}`);
    Object.assign(link, { href: `/${repo}/tree/${made.revision}`, title: made.revision });
    found.push(link);
    if (made.build) found.push(data("span", "", made.build));
    if (made.seed !== undefined && made.seed !== null) found.push(element("span", "", fill(words.seed, { n: made.seed })));
  }
  if (made.usage?.completion) {
    found.push(element("span", "", fill(words.tokens, { n: count(made.usage.completion) })));
    if (made.seconds > 0.2) found.push(element("span", "", fill(words.speed, { n: (made.usage.completion / made.seconds).toFixed(1) })));
    if (made.wait_s !== undefined) found.push(element("span", "", fill(words.first, { n: made.wait_s })));
  }
  if (made.reason === "stopped") found.push(element("span", "", words.stopped));
  if (made.reason === "length") found.push(element("span", "", words.cut));
  return found;
}

function attached(list) {
  const row = element("ul", "files");
  row.append(...list.map((file) => {
    const one = element("li", "", data("span", "", file.name));
    if (file.type?.startsWith("image/")) {
      files.content(file.id).then((blob) => thumbnail(blob, file.name)).then((picture) => one.prepend(picture), () => {});
    }
    return one;
  }));
  return row;
}

function editing(act) {
  const made = button("pencil", words.edit, act);
  made.dataset.edit = "";
  return made;
}
