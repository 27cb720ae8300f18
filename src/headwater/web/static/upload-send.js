// The hub's upload API: which files go how, LFS links, bytes with progress, and the commit.

export class Stopped extends Error {}

const SAMPLE = 512;
const AT_ONCE = 500;
const MEDIA = "application/vnd.git-lfs+json";

async function ask(url, options, signal) {
  let response;
  try {
    response = await fetch(url, { ...options, signal });
  } catch (error) {
    throw signal.aborted ? new Stopped() : error;
  }
  if (!response.ok) {
    const body = await response.json().catch(() => ({}));
    throw new Error(typeof body.error === "string" ? body.error : `HTTP ${response.status}`);
  }
  return response.json();
}

async function base64(blob) {
  const url = await new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
  return url.slice(url.indexOf(",") + 1);
}

// Map of target path -> {lfs, ignored}.
export async function preupload({ api, revision }, items, signal) {
  const modes = new Map();
  for (let n = 0; n < items.length; n += AT_ONCE) {
    const files = await Promise.all(items.slice(n, n + AT_ONCE).map(async ({ target, file }) => (
      { path: target, size: file.size, sample: await base64(file.slice(0, SAMPLE)) })));
    const answer = await ask(`${api}/preupload/${revision}`, json({ files }), signal);
    for (const one of answer.files) modes.set(one.path, { lfs: one.uploadMode === "lfs", ignored: one.shouldIgnore });
  }
  return modes;
}

// Where to send the bytes, or null when they are here already.
export async function batch({ lfs }, item, signal) {
  const body = { operation: "upload", transfers: ["basic", "multipart"], hash_algo: "sha256",
    objects: [{ oid: item.digest, size: item.file.size }] };
  const answer = await ask(lfs, json(body, MEDIA), signal);
  const [object] = answer.objects;
  if (object.error) throw new Error(object.error.message);
  return object.actions ?? null;
}

export async function put({ upload, verify }, item, onProgress, signal) {
  const { chunk_size: step, ...parts } = upload.header ?? {};
  if (step) {
    const etags = [];
    const numbers = Object.keys(parts).filter((n) => /^\d+$/.test(n)).map(Number).sort((a, b) => a - b);
    for (const number of numbers) {
      const start = (number - 1) * Number(step);
      const etag = await send(parts[number], item.file.slice(start, start + Number(step)), (n) => onProgress(start + n), signal);
      etags.push({ partNumber: number, etag });
    }
    await ask(here(upload.href), json({ oid: item.digest, parts: etags }, MEDIA), signal);
  } else {
    await send(upload.href, item.file, onProgress, signal);
  }
  if (verify) await ask(here(verify.href), json({ oid: item.digest, size: item.file.size }, MEDIA), signal);
}

export async function commit({ api, revision }, title, items, signal) {
  const lines = [JSON.stringify({ key: "header", value: { summary: title, description: "" } }), "\n"];
  for (const { target, file, digest } of items) {
    const value = digest ? { path: target, algo: "sha256", oid: digest, size: file.size }
      : { path: target, encoding: "base64", content: await base64(file) };
    lines.push(JSON.stringify({ key: digest ? "lfsFile" : "file", value }), "\n");
  }
  const body = new Blob(lines, { type: "application/x-ndjson" });
  return ask(`${api}/commit/${revision}`, { method: "POST", body, headers: { "Content-Type": "application/x-ndjson" } }, signal);
}

const json = (body, type = "application/json") => (
  { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": type, Accept: type } });

// Links may name the hub's public address; the browser stays on the one it is on.
function here(href) {
  const url = new URL(href, location.href);
  return url.pathname + url.search;
}

// XMLHttpRequest, for fetch does not tell how much was sent.
function send(href, blob, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const stop = () => { request.abort(); reject(new Stopped()); };
    signal.addEventListener("abort", stop, { once: true });
    request.upload.onprogress = (event) => onProgress(event.loaded);
    request.onerror = () => reject(new Error(""));
    request.onload = () => {
      signal.removeEventListener("abort", stop);
      if (request.status < 300) return resolve(request.getResponseHeader("ETag"));
      let told = "";
      try { told = JSON.parse(request.responseText).error; } catch { /* not JSON: the status says it */ }
      return reject(new Error(told || `HTTP ${request.status}`));
    };
    request.open("PUT", here(href));
    request.send(blob);
  });
}
