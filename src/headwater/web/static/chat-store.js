// Conversations in this browser's localStorage: newest first, at most 100, the oldest let go when it is full.

const KEY = "headwater.talks";
const MAX = 100;

function read() {
  try {
    const found = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(found) ? found.filter((one) => one?.id && Array.isArray(one.messages)) : [];
  } catch {
    return [];
  }
}

// True when everything was kept; false when older conversations had to go.
function write(talks) {
  const wanted = talks.length;
  while (talks.length) {
    try {
      localStorage.setItem(KEY, JSON.stringify(talks));
      return talks.length === wanted;
    } catch {
      talks.pop();
    }
  }
  localStorage.removeItem(KEY);
  return wanted === 0;
}

export const all = read;

export function open(id) {
  return read().find((one) => one.id === id) ?? fresh();
}

export function fresh() {
  const id = Array.from(crypto.getRandomValues(new Uint8Array(8)), (b) => b.toString(16).padStart(2, "0")).join("");
  return { id, title: "", model: "", messages: [] };
}

export function save(talk) {
  return write([{ ...talk, at: Date.now() }, ...read().filter((one) => one.id !== talk.id)].slice(0, MAX));
}

export function forget(id) {
  write(read().filter((one) => one.id !== id));
}
