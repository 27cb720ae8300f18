// A worker: the sha256 of a file, read in pieces. WebCrypto cannot hash a stream, so this is @noble/hashes.

import { sha256 } from "./vendor/noble/sha2.js";

const PIECE = 4 << 20;

self.onmessage = async ({ data: file }) => {
  try {
    const hash = sha256.create();
    for (let at = 0; at < file.size; at += PIECE) {
      hash.update(new Uint8Array(await file.slice(at, at + PIECE).arrayBuffer()));
      self.postMessage({ done: Math.min(at + PIECE, file.size) });
    }
    self.postMessage({ digest: Array.from(hash.digest(), (b) => b.toString(16).padStart(2, "0")).join("") });
  } catch (error) {
    self.postMessage({ error: error.message || "the file cannot be read" });
  }
};
