"""Types that the kinds of v1alpha1 share: the model and its engine, and the patterns of names.

Field descriptions become the CRD's documentation: each starts with the JSON name and gives bounds and default.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.alias_generators import to_camel

from tidemill_api.markers import list_map, rules
from tidemill_api.v1alpha1.reserved import no_way_up

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
"""A name of at most 63 characters that may stand alone in a host name (RFC 1123)."""

DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
"""A name of at most 253 characters: labels with dots between (RFC 1123), as most Kubernetes objects have."""


Count = Annotated[int, Field(ge=0, le=2**53 - 1)]
"""A count of rows, tokens or generations: every client, JavaScript included, reads it exactly."""


class ApiModel(BaseModel):
    """Base of every API type: camelCase on the wire, unknown fields refused, values immutable."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, validate_default=True
    )


ToolCallParser = Literal[
    "apertus",
    "cohere_command3",
    "cohere_command4",
    "deepseek_v3",
    "deepseek_v31",
    "deepseek_v32",
    "deepseek_v4",
    "deepseek_v41",
    "dots",
    "ernie45",
    "functiongemma",
    "gemma4",
    "gigachat3",
    "glm45",
    "glm47",
    "granite",
    "granite-20b-fc",
    "granite4",
    "hermes",
    "hf",
    "hunyuan_a13b",
    "hy_v3",
    "hy_v4",
    "inkling",
    "internlm",
    "jamba",
    "k2_horizon",
    "kimi_k2",
    "kimi_k3",
    "lfm2",
    "ling3",
    "llama3_json",
    "llama4_json",
    "llama4_pythonic",
    "longcat",
    "mimo",
    "minicpm5",
    "minimax_m2",
    "minimax_m3",
    "mistral",
    "muse_glimmer",
    "olmo3",
    "openai",
    "phi4_mini_json",
    "plamo3",
    "poolside_v1",
    "pythonic",
    "qwen3_coder",
    "qwen3_json",
    "qwen3_xml",
    "seed_oss",
    "step3",
    "step3p5",
    "xlam",
]
"""The names of vLLM 0.32 (`--tool-call-parser`), by the models' families: how each of them writes a call of a tool."""


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
    tool_call_parser: ToolCallParser | None = Field(
        default=None,
        description="toolCallParser that reads calls of tools out of what the model writes, by vLLM's name of the"
        " model's family, such as hermes. Default: none, and requests with tools are refused.",
    )


MODEL_NAME = r"^[A-Za-z0-9][A-Za-z0-9._/-]*$"
"""What requests may have to call a model, or an adapter of it."""

_SOURCE = r"^(/.+|[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?)$"
_SOURCE_MESSAGE = "model.source must be a path such as /models/smollm2 or a hub id such as Qwen/Qwen3-8B"
_ADAPTER_SOURCE_MESSAGE = (
    "model.adapters: source must be a path such as /adapters/support or a hub id such as org/support-lora"
)


class AdapterSpec(ApiModel):
    """A LoRA adapter of the model: answers under its own name, with the model's weights and its own small ones."""

    name: str = Field(
        min_length=1,
        max_length=253,
        pattern=MODEL_NAME,
        description="name by which requests ask for the adapter in body.model, 1 to 253 characters; not the model's.",
    )
    source: str = Field(
        min_length=1,
        max_length=1024,
        description="source of the adapter as PEFT writes it (adapter_config.json, adapter_model.safetensors): a path"
        " under a mount of the template, or a Hugging Face hub id.",
        json_schema_extra=rules((f"self.matches('{_SOURCE}')", _ADAPTER_SOURCE_MESSAGE), no_way_up("source")),
    )

    @field_validator("source")
    @classmethod
    def _path_or_hub_id(cls, source: str) -> str:
        return _require_source(source, _ADAPTER_SOURCE_MESSAGE)


_NAMES_RULE = "!has(self.adapters) || self.adapters.all(adapter, adapter.name != self.name)"
_NAMES_MESSAGE = "model.adapters: an adapter must have another name than the model"


class ModelSpec(ApiModel):
    """Which model answers, where its weights are, how the engine is set, and which adapters it serves beside."""

    model_config = ConfigDict(json_schema_extra=rules((_NAMES_RULE, _NAMES_MESSAGE)))

    name: str = Field(
        min_length=1,
        max_length=253,
        pattern=MODEL_NAME,
        description="name by which rows ask for the model in body.model, 1 to 253 characters.",
    )
    source: str = Field(
        min_length=1,
        max_length=1024,
        description="source of the weights: a path under a mount of the template, or a Hugging Face hub id.",
        json_schema_extra=rules((f"self.matches('{_SOURCE}')", _SOURCE_MESSAGE), no_way_up("model.source")),
    )
    engine_args: EngineArgs = Field(default_factory=EngineArgs, description="engineArgs for vLLM, a closed list.")
    adapters: tuple[AdapterSpec, ...] = Field(
        default=(),
        max_length=64,
        description="adapters (LoRA) that are served beside the model, each under its own name, at most 64. All are"
        " loaded when an engine starts; one batch mixes requests for at most 8 of them.",
        json_schema_extra=list_map("name"),
    )

    @field_validator("source")
    @classmethod
    def _path_or_hub_id(cls, source: str) -> str:
        return _require_source(source, _SOURCE_MESSAGE)

    @model_validator(mode="after")
    def _names_told_apart(self) -> ModelSpec:
        names = [adapter.name for adapter in self.adapters]
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        if twice:
            raise ValueError(f"model.adapters: {', '.join(twice)} stands more than once")
        if self.name in names:
            raise ValueError(f"{_NAMES_MESSAGE}, not {self.name}")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """What requests may ask for: the model, then its adapters."""
        return (self.name, *(adapter.name for adapter in self.adapters))


def _require_source(source: str, message: str) -> str:
    if not re.fullmatch(_SOURCE, source):
        raise ValueError(f"{message}, not {source!r}")
    return source
