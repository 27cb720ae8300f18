// One streamed chat completion, as events {text, reasoning, origin, usage, reason}. Knows OpenAI's server-sent events.

const LINE_MAX = 1 << 20;

export async function* stream(body, signal) {
  const response = await fetch("/v1/chat/completions", {
    method: "POST",
    signal,
    headers: { "Content-Type": "application/json", Accept: "text/event-stream" },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
  });
  if (!response.ok) throw await refusal(response);
  for await (const data of lines(response.body)) {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw told(chunk.error.message);
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

// The payload of each "data:" line; comments and other fields are skipped.
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
      for (const line of parts) if (line.startsWith("data:")) yield line.slice(5).trim();
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

async function refusal(response) {
  try {
    return told((await response.json()).error.message);
  } catch {
    return new Error(`HTTP ${response.status}`);
  }
}

function told(message) {
  return Object.assign(new Error(message), { told: message });
}
