"""POST /v1/chat/completions: translate, call chat.complete, render. The answer names the revision that spoke."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from headwater.api.deps import ActorDep, get_app
from headwater.api.openai.answer import Answer
from headwater.api.openai.attach import show_chat_files
from headwater.api.openai.hangup import UntilHangup
from headwater.api.openai.request import ChatBody, body_schema, chat_body, chat_request, with_seeds
from headwater.chat.made import Made
from headwater.chat.types import ChatEvent, Finished, Piece, Started
from headwater.core.errors import NotSignedIn

router = APIRouter(prefix="/v1", tags=["OpenAI"])
_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": body_schema(ChatBody)}}}}


@router.post("/chat/completions", openapi_extra=_BODY)
async def chat_completions(request: Request, actor: ActorDep, body: Annotated[ChatBody, Depends(chat_body)]) -> Any:
    """Answer a conversation, as one object or as server-sent events."""
    if actor.account is None:
        raise NotSignedIn("Chat needs a token here.", hint="Make one with `headwater token create`.")
    await show_chat_files(get_app(request).talks, actor, body.messages)
    asked, warnings = chat_request(body)
    answer = ChatAnswer(get_app(request).chat, actor, with_seeds(asked, body.n or 1), warnings)
    if not body.stream:
        return UntilHangup(answer.send_whole)
    return UntilHangup(lambda send: answer.send_stream(send, usage=body.wants_usage))


class ChatAnswer(Answer):
    id_prefix, whole_kind, chunk_kind = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def chunk_choices(self, n: int, event: ChatEvent) -> list[dict[str, Any]]:
        match event:
            case Started():
                return [_choice(n, {"role": "assistant", "content": ""})]
            case Piece(text, reasoning, calls, logprobs):
                delta = {"content": text, "reasoning_content": reasoning, "tool_calls": list(calls)}
                delta = {name: value for name, value in delta.items() if value}
                return [_choice(n, delta, logprobs=told_logprobs(logprobs, self.rivals))]
            case Finished(reason):
                return [_choice(n, {}, reason)]

    def whole_choice(self, n: int, made: Made) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": made.text, "refusal": None}
        if made.reasoning:
            message["reasoning_content"] = made.reasoning
        if made.calls:
            message.update(content=made.text or None, tool_calls=made.calls)
        return {"index": n, "message": message, "logprobs": told_logprobs(made.logprobs, self.rivals),
                "finish_reason": made.finished.reason}


def _choice(n: int, delta: dict[str, Any], reason: str | None = None, logprobs: Any = None) -> dict[str, Any]:
    return {"index": n, "delta": delta, "logprobs": logprobs, "finish_reason": reason}


def told_logprobs(tokens: Sequence[dict[str, Any]], rivals: int) -> dict[str, Any] | None:
    """OpenAI's object, with so many rivals a token; an engine's own fields, such as token ids, are left out."""
    def told(token: dict[str, Any]) -> dict[str, Any]:
        return {"token": token["token"], "logprob": token["logprob"], "bytes": token.get("bytes")}

    content = [{**told(token), "top_logprobs": [told(other) for other in token.get("top_logprobs", ())[:rivals]]}
               for token in tokens]
    return {"content": content, "refusal": None} if content else None
