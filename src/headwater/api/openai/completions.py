"""POST /v1/completions: go on with a bare text, no template around it and <think> left as it is."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import ConfigDict, Field

from headwater.api.deps import ActorDep, get_app
from headwater.api.openai.answer import Answer
from headwater.api.openai.hangup import UntilHangup
from headwater.api.openai.request import AskedBody, body_schema, read_body, with_seeds
from headwater.api.openai.several import ANSWERS_MAX
from headwater.api.openai.tools import Malformed
from headwater.api.parameters import extras
from headwater.chat.made import Made
from headwater.chat.types import ChatEvent, ChatRequest, Finished, Piece, UnsupportedParameter
from headwater.core.errors import NotSignedIn

router = APIRouter(prefix="/v1", tags=["OpenAI"])
MAX_TOKENS = 16
"""OpenAI's default here, unlike in chat."""


class TextBody(AskedBody):
    model_config = ConfigDict(strict=True, extra="allow", title="CompletionRequest")
    prompt: str | list[Any]
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None


_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": body_schema(TextBody)}}}}


async def text_body(request: Request) -> TextBody:
    return await read_body(request, TextBody)


@router.post("/completions", openapi_extra=_BODY)
async def completions(request: Request, actor: ActorDep, body: Annotated[TextBody, Depends(text_body)]) -> Any:
    """Go on with one text or several, as one object or as server-sent events."""
    if actor.account is None:
        raise NotSignedIn("Completions need a token here.", hint="Make one with `headwater token create`.")
    asked, warnings = _asked(body)
    answer = TextAnswer(get_app(request).chat, actor, asked, warnings)
    if not body.stream:
        return UntilHangup(answer.send_whole)
    return UntilHangup(lambda send: answer.send_stream(send, usage=body.wants_usage))


def _asked(body: TextBody) -> tuple[list[ChatRequest], list[str]]:
    """A request for every answer: all of the first prompt, then all of the next, as OpenAI orders them."""
    warnings = extras("completions", body)
    prompts = [body.prompt] if isinstance(body.prompt, str) else body.prompt
    if not prompts or not all(isinstance(prompt, str) for prompt in prompts):
        raise UnsupportedParameter("prompt must be text or a list of texts; lists of tokens are not taken.",
                                   param="prompt")
    count = body.n or 1
    if len(prompts) * count > ANSWERS_MAX:
        raise Malformed(f"n: {len(prompts)} prompts make {len(prompts) * count} answers; at most {ANSWERS_MAX}.", "n")
    asked = [ChatRequest(model=body.model, messages=(), prompt=prompt, max_tokens=body.max_tokens or MAX_TOKENS,
                         logprobs=body.logprobs, **body.drawing) for prompt in prompts]
    return [again for one in asked for again in with_seeds(one, count)], warnings


class TextAnswer(Answer):
    id_prefix, whole_kind, chunk_kind = "cmpl", "text_completion", "text_completion"

    def __init__(self, *given: Any):
        super().__init__(*given)
        self.said = [0] * len(self.asked)

    def chunk_choices(self, n: int, event: ChatEvent) -> list[dict[str, Any]]:
        match event:
            case Piece(text, _, _, logprobs):
                return [self._choice(n, text, None, logprobs)]
            case Finished(reason):
                return [self._choice(n, "", reason)]
        return []

    def whole_choice(self, n: int, made: Made) -> dict[str, Any]:
        return self._choice(n, made.text, made.finished.reason, made.logprobs)

    def _choice(self, n: int, text: str, reason: str | None, logprobs: Any = ()) -> dict[str, Any]:
        told = None
        if logprobs:
            told = {"tokens": [token["token"] for token in logprobs],
                    "token_logprobs": [token["logprob"] for token in logprobs],
                    "top_logprobs": [{other["token"]: other["logprob"] for other in
                                      token.get("top_logprobs", ())[:self.rivals]} for token in logprobs],
                    "text_offset": []}
            for token in logprobs:
                told["text_offset"].append(len(self.asked[n].prompt) + self.said[n])
                self.said[n] += len(token["token"])
        return {"index": n, "text": text, "logprobs": told, "finish_reason": reason}
