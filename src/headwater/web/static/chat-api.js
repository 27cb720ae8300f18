// The hub's own API for conversations, presets and files, and what it says of models. Knows no page.

const TALKS = "/api/headwater/conversations", PRESETS = "/api/headwater/presets";

async function call(method, path, body, more = {}) {
  const json = body && !(body instanceof FormData);
  const response = await fetch(path, {
    method, headers: { Accept: "application/json", ...(json ? { "Content-Type": "application/json" } : {}) },
    body: json ? JSON.stringify(body) : body, ...more,
  });
  if (!response.ok) throw await refusal(response);
  return response.status === 204 ? null : response.json();
}

// An error whose message the hub wrote for people.
export async function refusal(response) {
  const said = await response.json().catch(() => ({}));
  const message = said.error?.message ?? said.error ?? `HTTP ${response.status}`;
  return Object.assign(new Error(message), { told: message, status: response.status });
}

export const talks = {
  find: (asked) => call("GET", `${TALKS}?${new URLSearchParams(Object.entries(asked).filter(([, value]) => value))}`),
  folders: async () => {
    const { items } = await call("GET", `${TALKS}/folders`);
    return items.map((one) => one.folder ?? one.name ?? one).filter(Boolean);
  },
  make: (given) => call("POST", TALKS, given),
  get: (id) => call("GET", `${TALKS}/${id}`),
  change: (id, given) => call("PATCH", `${TALKS}/${id}`, given),
  remove: (id, last) => call("DELETE", `${TALKS}/${id}`, undefined, { keepalive: last }),
  say: (id, message, last) => call("POST", `${TALKS}/${id}/messages`, message, { keepalive: last }),
  unsay: (id, message, last) => call("DELETE", `${TALKS}/${id}/messages/${message}`, undefined, { keepalive: last }),
  share: (id) => call("POST", `${TALKS}/${id}/share`, {}),
  unshare: (id) => call("DELETE", `${TALKS}/${id}/share`),
  exported: (id, form) => `${TALKS}/${id}/export?form=${form}`,
};

export const presets = {
  all: async () => (await call("GET", PRESETS)).items,
  make: (given) => call("POST", PRESETS, given),
  change: (id, given) => call("PATCH", `${PRESETS}/${id}`, given),
  remove: (id) => call("DELETE", `${PRESETS}/${id}`),
};

export const files = {
  send(file) {
    const form = new FormData();
    form.append("purpose", file.type.startsWith("image/") ? "vision" : "user_data");
    form.append("file", file, file.name);
    return call("POST", "/v1/files", form);
  },
  content: async (id) => {
    const response = await fetch(`/v1/files/${id}/content`);
    if (!response.ok) throw await refusal(response);
    return response.blob();
  },
};

const known = new Map();

// What the hub says of a model: {context_length, modalities, loaded, …}; {} when it says nothing. again: ask anew.
export function model(name, again = false) {
  if (again || !known.has(name)) {
    const path = name.split("/").map(encodeURIComponent).join("/");
    known.set(name, call("GET", `/v1/models/${path}`).then((said) => said.headwater ?? {}, () => ({})));
  }
  return known.get(name);
}
