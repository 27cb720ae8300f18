// Looking up a file: dropped or pasted, it is sent at once.

import { drops } from "./film-drop.js";

const form = document.getElementById("verify");
if (form) {
  drops(document.getElementById("drop"), document.getElementById("video"), "video/", (file) => {
    document.getElementById("chosen").textContent = file ? file.name : "";
    if (file) form.requestSubmit();
  });
}
