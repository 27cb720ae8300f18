"""POST /v1/embeddings (OpenAI's form) and /v1/rerank (the form Jina, Cohere, vLLM and llama.cpp share)."""

from __future__ import annotations

import array
import base64
import sys
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import Send

from headwater.api.deps import ActorDep, get_app
from headwater.api.openai.hangup import UntilHangup
from headwater.api.openai.request import body_schema, read_body
from headwater.api.openai.tools import Malformed
from headwater.api.origin import origin_body, origin_headers
from headwater.api.parameters import extras
from headwater.chat import Chat
from headwater.chat.embed import embed, rank
from headwater.chat.types import Origin, UnsupportedParameter
from headwater.core.errors import NotSignedIn
from headwater.core.types import Actor

router = APIRouter(prefix="/v1", tags=["OpenAI"])
TEXTS_MAX = 2048


class EmbeddingsBody(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", title="EmbeddingsRequest")
    model: Annotated[str, Field(description="`owner/name`, or `owner/name@revision`", max_length=500)]
    input: str | list[Any]
    encoding_format: str | None = None
    dimensions: int | None = None


class RerankBody(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", title="RerankRequest")
    model: Annotated[str, Field(description="`owner/name`, or `owner/name@revision`", max_length=500)]
    query: str
    documents: Annotated[list[str | dict[str, Any]], Field(min_length=1, max_length=TEXTS_MAX)]
    top_n: Annotated[int, Field(ge=1)] | None = None
    return_documents: bool | None = None


def _described(kind: type[BaseModel]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": body_schema(kind)}}}}


async def embeddings_body(request: Request) -> EmbeddingsBody:
    return await read_body(request, EmbeddingsBody)


async def rerank_body(request: Request) -> RerankBody:
    return await read_body(request, RerankBody)


@router.post("/embeddings", openapi_extra=_described(EmbeddingsBody))
async def embeddings(request: Request, actor: ActorDep, body: Annotated[EmbeddingsBody, Depends(embeddings_body)],
                     ) -> Any:
    """Vectors of texts, from a model made for it."""
    _signed_in(actor)
    texts, warnings = _texts(body), extras("embeddings", body)
    return UntilHangup(lambda send: _embed(send, get_app(request).chat, actor, body, texts, warnings))


@router.post("/rerank", openapi_extra=_described(RerankBody))
async def rerank(request: Request, actor: ActorDep, body: Annotated[RerankBody, Depends(rerank_body)]) -> Any:
    """Documents by how close they are to a query, closest first, from a model made for it."""
    _signed_in(actor)
    documents, warnings = [_document(n, given) for n, given in enumerate(body.documents)], extras("rerank", body)
    return UntilHangup(lambda send: _rank(send, get_app(request).chat, actor, body, documents, warnings))


def _signed_in(actor: Actor) -> None:
    if actor.account is None:
        raise NotSignedIn("Models need a token here.", hint="Make one with `headwater token create`.")


def _texts(body: EmbeddingsBody) -> list[str]:
    if body.dimensions is not None:
        raise UnsupportedParameter("dimensions is not supported: vectors have the width the model was made with.",
                                   param="dimensions", hint="Leave it out.")
    if body.encoding_format not in (None, "float", "base64"):
        raise Malformed("encoding_format: must be float or base64.", "encoding_format")
    texts = [body.input] if isinstance(body.input, str) else body.input
    if not texts or len(texts) > TEXTS_MAX:
        raise Malformed(f"input: must be 1 to {TEXTS_MAX} texts.", "input")
    if not all(isinstance(text, str) for text in texts):
        raise UnsupportedParameter("input must be text or texts: tokens are another tokenizer's more often than not.",
                                   param="input", hint="In langchain: check_embedding_ctx_length=False.")
    return texts


def _document(n: int, given: str | dict[str, Any]) -> str:
    text = given.get("text") if isinstance(given, dict) else given
    if not isinstance(text, str):
        raise Malformed(f"documents[{n}]: must be text, or an object with text.", "documents")
    return text


async def _embed(send: Send, chat: Chat, actor: Actor, body: EmbeddingsBody, texts: list[str],
                 warnings: list[str]) -> None:
    made = await embed(chat, actor, body.model, texts)
    form = _base64 if body.encoding_format == "base64" else list
    data = [{"object": "embedding", "index": n, "embedding": form(vector)} for n, vector in enumerate(made.vectors)]
    await _send(send, made.origin, warnings, {"object": "list", "data": data}, made.tokens)


async def _rank(send: Send, chat: Chat, actor: Actor, body: RerankBody, documents: list[str],
                warnings: list[str]) -> None:
    made = await rank(chat, actor, body.model, body.query, documents)
    order = sorted(range(len(documents)), key=lambda n: -made.scores[n])[:body.top_n]
    results = [{"index": n, "relevance_score": made.scores[n],
                **({"document": {"text": documents[n]}} if body.return_documents else {})} for n in order]
    await _send(send, made.origin, warnings, {"object": "list", "results": results}, made.tokens)


async def _send(send: Send, origin: Origin, warnings: list[str], body: dict[str, Any], tokens: int) -> None:
    response = JSONResponse({**body, "model": f"{origin.repo}@{origin.revision}",
                             "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
                             **origin_body(origin, warnings)}, headers=origin_headers(origin))
    await send({"type": "http.response.start", "status": 200, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": response.body})


def _base64(vector: list[float]) -> str:
    """Little-endian float32, as OpenAI's own client asks for."""
    values = array.array("f", vector)
    if sys.byteorder == "big":
        values.byteswap()
    return base64.b64encode(values.tobytes()).decode()
