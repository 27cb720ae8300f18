"""What an engine can do beyond plain chat, checked before anything is loaded. Knows no engine by name."""

from __future__ import annotations

from headwater.chat.types import ChatModel, ChatRequest, UnsupportedParameter

REASONS = {
    "schema": "cannot hold an answer to a form",
    "tools": "does not call tools",
    "logprobs": "does not tell the probabilities of its tokens",
    "completions": "answers conversations only and does not continue a bare text",
    "embeddings": "makes no embeddings",
    "rerank": "does not rank documents",
    "counts": "does not count tokens while it answers",
    "vision": "sees no pictures",
    "adapters": "takes no LoRA adapters",
}
"""Each feature an engine may name, and the sentence for one that does not."""


def check(model: ChatModel, request: ChatRequest) -> None:
    """Raises UnsupportedParameter for the first part of the request that the model's engine cannot honour."""
    asked = {"schema": ("response_format", request.form is not None),
             "tools": ("tools", bool(request.tools)),
             "logprobs": ("logprobs", request.logprobs is not None),
             "completions": ("prompt", request.prompt is not None),
             "vision": ("messages", bool(request.pictures))}
    for feature, (param, wanted) in asked.items():
        if wanted:
            need(model, feature, param)
    if request.speaks_of_tools:
        need(model, "tools", "messages")
    if request.pictures and model.projector is None:
        raise UnsupportedParameter(f"{model.repo.full_name} has no projector, a file mmproj-*.gguf beside the model, "
                                   "so it cannot see pictures.", param="messages",
                                   hint="Leave the pictures out, or add the model's projector to the repo.")


def need(model: ChatModel, feature: str, param: str) -> None:
    """Raises UnsupportedParameter unless the model's engine has the feature."""
    if feature not in getattr(model.engine, "features", ()):
        raise UnsupportedParameter(f"{model.repo.full_name} runs on {model.engine.name}, which {REASONS[feature]}.",
                                   param=param, hint="Leave it out, or choose a model in GGUF.")
