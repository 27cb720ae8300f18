// Lets a model answer into a message {content, reasoning, made, …} while it streams. Knows no page and keeps nothing.

import { stream } from "./chat-stream.js";

// changed(node): something came. Ends when the answer does; never throws. node.error: what went wrong, for people.
export async function answer(node, body, signal, words, changed) {
  const begun = performance.now();
  let thought = 0, first = 0;
  try {
    for await (const event of stream(body, signal)) {
      if (event.place) node.place = event.place;
      if (event.origin) receipt(node, event.origin);
      if (event.usage) node.made.usage = { prompt: event.usage.prompt_tokens, completion: event.usage.completion_tokens };
      if (event.reason) node.made.reason = event.reason;
      if (event.reasoning) {
        thought ||= performance.now();
        node.made.thought_s = seconds(thought);
      }
      if (event.text || event.reasoning) {
        first ||= performance.now();
        node.content += event.text ?? "";
        node.reasoning += event.reasoning ?? "";
      }
      changed(node);
    }
  } catch (error) {
    if (signal.aborted) node.made.reason = "stopped";
    else node.error = error.told ?? (node.content ? words.lost : `${words.failed}: ${error.message}`);
  }
  if (first) Object.assign(node.made, { wait_s: Number(((first - begun) / 1000).toFixed(2)), seconds: seconds(first) });
  delete node.place;
}

const seconds = (since) => Number(((performance.now() - since) / 1000).toFixed(2));

function receipt(node, { repo, revision, engine, build, seed, warnings }) {
  Object.assign(node.made, { repo, revision, engine, build, seed, ...(warnings?.length ? { warnings } : {}) });
}
