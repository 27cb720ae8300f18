// Conversations of earlier versions were kept in the browser: moves them to the hub, once, whichever tab comes first.

import { talks } from "./chat-api.js";
import { identity } from "./chat-tree.js";

const OLD = "headwater.talks";

// True when something was moved. What cannot be moved stays where it is.
export async function bringOver() {
  if (!localStorage.getItem(OLD)) return false;
  const move = async () => {
    for (let left = read(); left.length; left = read()) {
      await moveOne(left.at(-1)); // oldest first, so that the order stays
      if (left.length > 1) localStorage.setItem(OLD, JSON.stringify(left.slice(0, -1)));
      else localStorage.removeItem(OLD);
    }
    return true;
  };
  return navigator.locks ? navigator.locks.request(OLD, move) : move();
}

function read() {
  try {
    const found = JSON.parse(localStorage.getItem(OLD) ?? "[]");
    return Array.isArray(found) ? found.filter((one) => Array.isArray(one?.messages)) : [];
  } catch {
    return [];
  }
}

async function moveOne({ title, model, messages }) {
  const { id } = await talks.make({ title: String(title ?? "").slice(0, 200), model: String(model ?? "") });
  let parent = null;
  for (const old of messages) {
    if (!old?.content || !["user", "assistant"].includes(old.role)) continue;
    const made = old.origin ? { repo: old.origin.repo, revision: old.origin.revision, seed: old.origin.seed } : {};
    const said = { id: identity(), parent, role: old.role, content: String(old.content), made, model: String(old.model ?? "") };
    await talks.say(id, { ...said, reasoning: String(old.reasoning ?? "") });
    parent = said.id;
  }
}
