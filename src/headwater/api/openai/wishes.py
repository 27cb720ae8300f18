"""The `headwater` object of a request: what may be asked for here and in no other API."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class AdapterWish(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    model: Annotated[str, Field(description="`owner/adapter`, or `owner/adapter@revision`", max_length=500)]
    scale: Annotated[float, Field(ge=-16, le=16, allow_inf_nan=False)] = 1.0


class Wishes(BaseModel):
    """adapters: LoRA adapters to answer with, in GGUF, beside any named in `model` after a plus."""

    model_config = ConfigDict(strict=True, extra="forbid")
    adapters: Annotated[list[AdapterWish], Field(max_length=16)] = []

    @property
    def scales(self) -> tuple[tuple[str, float], ...]:
        return tuple((one.model, one.scale) for one in self.adapters)
