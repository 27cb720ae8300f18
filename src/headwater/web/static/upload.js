// Upload by drag and drop: choose, hash, send, commit. Speaks the API the Hugging Face clients speak.

import { gathered, listed } from "./upload-gather.js";
import { preupload, batch, put, commit, Stopped } from "./upload-send.js";

const form = document.getElementById("upload");
const words = JSON.parse(form.dataset.words);
const at = (id) => document.getElementById(id);
const chosen = new Map(); // path -> {file, path, row, state}
let running = null;

const units = ["B", "kB", "MB", "GB", "TB"];
function size(n) {
  let unit = 0;
  while (n >= 999.5 && unit < units.length - 1) { n /= 1000; unit += 1; }
  return `${unit && n < 99.95 ? n.toFixed(n < 9.995 ? 2 : 1) : Math.round(n)} ${units[unit]}`;
}
const total = () => [...chosen.values()].reduce((sum, item) => sum + item.file.size, 0);

// --- choosing

function add(items) {
  if (running) return;
  for (const { path, file } of items) {
    chosen.get(path)?.row.remove();
    const item = { path, file, row: document.createElement("tr") };
    draw(item);
    chosen.set(path, item);
  }
  tell();
}

function draw(item) {
  const name = document.createElement("td"), bytes = document.createElement("td"), last = document.createElement("td");
  item.state = document.createElement("td");
  name.textContent = item.path;
  name.className = "mono";
  name.translate = false;
  bytes.textContent = size(item.file.size);
  bytes.className = "number";
  item.state.textContent = words.waiting;
  item.state.className = "soft";
  last.className = "right";
  const out = document.createElement("button");
  out.type = "button";
  out.className = "button slim bare";
  out.textContent = "×";
  out.setAttribute("aria-label", `${words.remove}: ${item.path}`);
  out.title = words.remove;
  out.addEventListener("click", () => { chosen.delete(item.path); item.row.remove(); tell(); });
  last.append(out);
  item.row.append(name, bytes, item.state, last);
  at("list").append(item.row);
}

function tell() {
  at("chosen").hidden = chosen.size === 0;
  const said = chosen.size === 1 ? words.file : words.files.replace("{n}", chosen.size);
  at("sum").textContent = said.replace("{size}", size(total()));
  const first = chosen.keys().next().value ?? "";
  at("title").placeholder = chosen.size === 1 ? words.title_one.replace("{name}", first) : words.title.replace("{n}", chosen.size);
}

function say(text, look = "") {
  at("state").textContent = text;
  at("state").className = `note ${look}`;
  at("state").hidden = false;
}

// --- sending

function hash(file, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL("./upload-hash.js", import.meta.url), { type: "module" });
    const end = (act, value) => { worker.terminate(); act(value); };
    signal.addEventListener("abort", () => end(reject, new Stopped()), { once: true });
    worker.onerror = (event) => end(reject, new Error(event.message));
    worker.onmessage = ({ data }) => {
      if (data.error) end(reject, new Error(data.error));
      else if (data.digest) end(resolve, data.digest);
      else onProgress(data.done);
    };
    worker.postMessage(file);
  });
}

async function upload() {
  const abort = new AbortController(), signal = abort.signal;
  const items = [...chosen.values()];
  const into = at("into").value.trim().replace(/^\/+|\/+$/g, "");
  for (const item of items) item.target = into ? `${into}/${item.path}` : item.path;
  busy(abort);
  // Reading counts a quarter of a file's way, sending three quarters.
  const whole = at("whole"), sum = Math.max(total(), 1);
  const way = new Map();
  const move = (item, part) => {
    way.set(item, part * item.file.size);
    whole.value = [...way.values()].reduce((a, b) => a + b, 0) / sum;
  };
  try {
    const modes = await preupload(form.dataset, items, signal);
    const kept = items.filter((item) => !modes.get(item.target).ignored);
    for (const item of items) if (modes.get(item.target).ignored) item.state.textContent = words.ignored;
    const large = kept.filter((item) => modes.get(item.target).lfs);
    for (const item of kept) if (!large.includes(item)) { item.state.textContent = words.small; move(item, 1); }
    let next = large.length ? read(large[0]) : null;
    for (const [n, item] of large.entries()) {
      item.digest = await next;
      next = n + 1 < large.length ? read(large[n + 1]) : null; // the next is read while this one is sent
      next?.catch(() => {});
      await send(item);
    }
    say(words.committing);
    const title = at("title").value.trim() || at("title").placeholder;
    await commit(form.dataset, title, kept, signal);
    say(words.done, "good");
    running = null;
    location.assign(form.dataset.done);
  } catch (error) {
    abort.abort();
    busy(null);
    if (!(error instanceof Stopped)) say(words.failed.replace("{why}", error.message || words.offline), "bad");
  }

  function read(item) {
    return hash(item.file, (done) => {
      item.state.textContent = `${words.hashing} ${Math.floor(100 * done / Math.max(item.file.size, 1))} %`;
      move(item, .25 * done / Math.max(item.file.size, 1));
    }, signal);
  }

  async function send(item) {
    const actions = await batch(form.dataset, item, signal);
    if (!actions) item.state.textContent = words.here;
    else {
      await put(actions, item, (done) => {
        item.state.textContent = `${words.sending} ${Math.floor(100 * done / Math.max(item.file.size, 1))} %`;
        move(item, .25 + .75 * done / Math.max(item.file.size, 1));
      }, signal);
      item.state.textContent = words.sent;
    }
    move(item, 1);
  }
}

function busy(abort) {
  running = abort;
  for (const id of ["go", "clear", "files", "folder-input", "into", "title"]) at(id).disabled = Boolean(abort);
  for (const button of at("list").querySelectorAll("button")) button.disabled = Boolean(abort);
  at("halt").hidden = !abort;
  at("whole").hidden = !abort;
  at("state").hidden = true;
}

// --- listening

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (chosen.size && !running) upload();
});
at("halt").addEventListener("click", () => running?.abort());
at("clear").addEventListener("click", () => { chosen.clear(); at("list").replaceChildren(); tell(); });
for (const id of ["files", "folder-input"]) {
  at(id).addEventListener("change", (event) => { add(listed(event.target.files)); event.target.value = ""; });
}
const drop = at("drop");
for (const name of ["dragenter", "dragover"]) {
  document.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
document.addEventListener("drop", async (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  add(await gathered(event.dataTransfer));
});
addEventListener("beforeunload", (event) => { if (running) event.preventDefault(); });
