"""Types that the kinds of v1alpha1 share: model, resources, pod template, condition.

Field descriptions become the CRD's documentation: each starts with the JSON name and gives bounds and default.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

QUANTITY = r"^([0-9]+|[0-9]+\.[0-9]{1,3})(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"
DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"


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
        description="gpuMemoryUtilizationPercent is the share of GPU memory the engine claims, 10 to 98. Default: vLLM's.",
    )
    quantization: Literal["awq", "gptq", "fp8", "bitsandbytes"] | None = Field(
        default=None,
        description="quantization method of the weights. Default: what the model's own config says.",
    )


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
    )
    engine_args: EngineArgs = Field(default_factory=EngineArgs, description="engineArgs for vLLM, a closed list.")
