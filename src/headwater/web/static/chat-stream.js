// One streamed chat completion, as events {text, reasoning, origin, usage, reason, place}. Knows OpenAI's server-sent events.

import { refusal } from "./chat-api.js";

const LINE_MAX = 1 << 20;
const PLACE = /^: headwater\.queue (\d+)/;

export async function* stream(body, signal) {
  const response = await fetch("/v1/chat/completions", {
    method: "POST",
    signal,
    headers: { "Content-Type": "application/json", Accept: "text/event-stream" },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
  });
  if (!response.ok) throw await refusal(response);
  for await (const line of lines(response.body)) {
    const place = PLACE.exec(line);
    if (place) yield { place: Number(place[1]) };
    if (!line.startsWith("data:")) continue;
    const data = line.slice(5).trim();
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw Object.assign(new Error(chunk.error.message), { told: chunk.error.message });
    const choice = chunk.choices?.[0];
    yield {
      text: choice?.delta?.content || "",
      reasoning: choice?.delta?.reasoning_content || "",
      reason: choice?.finish_reason,
      usage: chunk.usage,
      origin: chunk.headwater,
    };
  }
  throw new Error("the answer ended early");
}

async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (rest + value).split(/\r?\n/);
      rest = parts.pop();
      if (rest.length > LINE_MAX) throw new Error("a line of the answer is too long");
      yield* parts;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
