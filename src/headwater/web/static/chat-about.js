// The menu of a conversation: its name and folder, its link, its copies, its end.

import { talks } from "./chat-api.js";
import { at, words } from "./chat-bits.js";

// current(): the conversation on the page. changed({title, folder}): it was named. remove(): it is to go.
export function about(current, changed, remove) {
  const menu = at("menu"), close = () => { menu.open = false; };
  const press = (id, act) => at(id).addEventListener("click", () => { close(); act(); });
  menu.addEventListener("toggle", () => {
    for (const link of menu.querySelectorAll("[data-form]")) link.href = talks.exported(current().id, link.dataset.form);
  });
  for (const link of menu.querySelectorAll("[data-form]")) link.addEventListener("click", close);
  press("rename", () => {
    at("title").value = current().title;
    at("folder").value = current().folder ?? "";
    at("about-box").showModal();
    at("title").select();
  });
  at("about-form").addEventListener("submit", () => changed({ title: at("title").value.trim(), folder: at("folder").value.trim() }));
  press("share", () => share(current()));
  at("unshare").addEventListener("click", () => unshare(current()));
  press("forget", remove);
  for (const shut of document.querySelectorAll("dialog [data-close]")) shut.addEventListener("click", () => shut.closest("dialog").close());
  document.addEventListener("click", (event) => {
    for (const one of document.querySelectorAll("#chat details.menu[open]")) if (!one.contains(event.target)) one.open = false;
  });
  document.addEventListener("keydown", (event) => {
    const one = event.key === "Escape" && document.querySelector("#chat details.menu[open]");
    if (one) {
      one.open = false;
      one.querySelector("summary").focus();
    }
  });
}

async function share(talk) {
  at("share-said").textContent = "";
  try {
    const { url } = await talks.share(talk.id);
    at("share-link").value = new URL(url, location.origin).href;
    at("share-copy").dataset.copy = at("share-link").value;
    at("share-box").showModal();
    at("share-link").select();
  } catch (error) {
    at("note").hidden = false;
    at("note").textContent = error.told ?? words.failed;
  }
}

async function unshare(talk) {
  try {
    await talks.unshare(talk.id);
    at("share-box").close();
  } catch (error) {
    at("share-said").textContent = error.told ?? words.failed;
  }
}
