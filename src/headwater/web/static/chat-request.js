// What is asked of a model, and the same request as a program would write it. Pure.

// settings: as the fields of the page hold them; what is empty is left to the model.
export function request(model, path, settings) {
  const messages = path.map(({ role, content }) => ({ role, content }));
  if (settings.system?.trim()) messages.unshift({ role: "system", content: settings.system.trim() });
  const body = { model, messages };
  for (const name of ["temperature", "top_p", "max_tokens", "seed"]) {
    if (Number.isFinite(settings[name])) body[name] = settings[name];
  }
  if (settings.reasoning_effort) body.reasoning_effort = settings.reasoning_effort;
  if (settings.schema?.trim()) {
    const schema = JSON.parse(settings.schema);
    body.response_format = { type: "json_schema", json_schema: { name: "answer", schema } };
  }
  return body;
}

// Why a schema cannot be used, or "" when it can.
export function schemaProblem(text) {
  if (!text.trim()) return "";
  try {
    const schema = JSON.parse(text);
    return schema && typeof schema === "object" && !Array.isArray(schema) ? "" : "{ … }";
  } catch (error) {
    return error.message;
  }
}

export const WRITERS = { curl, python, javascript };

function curl(body, base) {
  const data = JSON.stringify(body, null, 2).replaceAll("'", `'\\''`);
  return `curl ${base}/v1/chat/completions \\
  -H "Authorization: Bearer $HF_TOKEN" \\
  -H "Content-Type: application/json" \\
  -d '${data}'`;
}

function python(body, base) {
  const given = Object.entries(body).map(([name, value]) => `    ${name}=${pythonic(value, 4)},`).join("\n");
  return `import os

from openai import OpenAI

client = OpenAI(base_url="${base}/v1", api_key=os.environ.get("HF_TOKEN", "none"))
stream = client.chat.completions.create(
${given}
    stream=True,
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
print()`;
}

function javascript(body, base) {
  const given = JSON.stringify({ ...body, stream: true }, null, 2);
  return `import OpenAI from "openai";

const client = new OpenAI({ baseURL: "${base}/v1", apiKey: process.env.HF_TOKEN ?? "none" });
const stream = await client.chat.completions.create(${given});
for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
console.log();`;
}

// A JSON value as Python writes it. Strings of JSON are strings of Python: both know \" \\ \n and \u.
function pythonic(value, indent) {
  const inner = " ".repeat(indent + 4), end = `\n${" ".repeat(indent)}`;
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value !== "object") return JSON.stringify(value);
  const many = Array.isArray(value)
    ? value.map((one) => `${inner}${pythonic(one, indent + 4)},`)
    : Object.entries(value).map(([name, one]) => `${inner}${JSON.stringify(name)}: ${pythonic(one, indent + 4)},`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  return many.length ? `${open}\n${many.join("\n")}${end}${close}` : open + close;
}
