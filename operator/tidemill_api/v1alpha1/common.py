"""Types that the kinds of v1alpha1 share: the model and its engine, and the patterns of names.

Field descriptions become the CRD's documentation: each starts with the JSON name and gives bounds and default.
"""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic.alias_generators import to_camel

from tidemill_api.markers import rules

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
"""A name of at most 63 characters that may stand alone in a host name (RFC 1123)."""

DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
"""A name of at most 253 characters: labels with dots between (RFC 1123), as most Kubernetes objects have."""


class ApiModel(BaseModel):
    """Base of every API type: camelCase on the wire, unknown fields refused, values immutable."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, validate_default=True
    )


class EngineArgs(ApiModel):
    """The vLLM engine arguments that may be set: a closed list, without remote code."""

    max_model_len: int | None = Field(
        default=None,
        ge=1,
        le=10_000_000,
        description="maxModelLen is the longest prompt plus answer in tokens, 1 to 10000000. Default: the model's own.",
    )
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        default="auto",
        description="dtype of the weights: auto (the model's own), float32, float16 or bfloat16.",
    )
    max_num_seqs: int | None = Field(
        default=None,
        ge=1,
        le=4096,
        description="maxNumSeqs is how many rows one engine decodes at once, 1 to 4096. Default: 128.",
    )
    max_num_batched_tokens: int | None = Field(
        default=None,
        ge=1,
        le=1_048_576,
        description="maxNumBatchedTokens is how many tokens one engine step handles, 1 to 1048576. Default: vLLM's.",
    )
    gpu_memory_utilization_percent: int | None = Field(
        default=None,
        ge=10,
        le=98,
        description="gpuMemoryUtilizationPercent is the GPU memory the engine claims, 10 to 98. Default: vLLM's.",
    )
    quantization: Literal["awq", "gptq", "fp8", "bitsandbytes"] | None = Field(
        default=None,
        description="quantization method of the weights. Default: what the model's own config says.",
    )


_SOURCE = r"^(/.+|[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?)$"
_SOURCE_MESSAGE = "model.source must be a path such as /models/smollm2 or a hub id such as Qwen/Qwen3-8B"


class ModelSpec(ApiModel):
    """Which model answers, where its weights are, and how the engine is set."""

    name: str = Field(
        min_length=1,
        max_length=253,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$",
        description="name by which rows ask for the model in body.model, 1 to 253 characters.",
    )
    source: str = Field(
        min_length=1,
        max_length=1024,
        description="source of the weights: a path under a mount of the template, or a Hugging Face hub id.",
        json_schema_extra=rules((f"self.matches('{_SOURCE}')", _SOURCE_MESSAGE)),
    )
    engine_args: EngineArgs = Field(default_factory=EngineArgs, description="engineArgs for vLLM, a closed list.")

    @field_validator("source")
    @classmethod
    def _path_or_hub_id(cls, source: str) -> str:
        if not re.fullmatch(_SOURCE, source):
            raise ValueError(f"{_SOURCE_MESSAGE}, not {source!r}")
        return source
