"""From the closed list of `engineArgs` to vLLM's own command line arguments. Pure; imports nothing of vLLM.

The same list starts the engine of a job and, in the benchmarks, vLLM's own batch runner. Remote code is never
allowed, and media is never fetched for a row: vLLM takes an empty list of domains for "any", so one is named that
cannot exist (RFC 2606).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill_workloads.locations import is_local

if TYPE_CHECKING:
    from tidemill_workloads.engine.interface import EngineSettings

NO_MEDIA_DOMAIN = "no-media-is-fetched.invalid"

CPU_KV_CACHE_VARIABLE = "VLLM_CPU_KVCACHE_SPACE"
CPU_KV_CACHE_GIB = "1"
"""vLLM's own default on the CPU claims a large share of the machine; pods set the variable for larger models."""

NO_COMPILER_VARIABLE = "TORCHDYNAMO_DISABLE"
"""Set on the CPU. vLLM compiles a few of its sampler's functions when a request first needs them, logprobs say, even
where it runs eagerly: that takes a C++ compiler, which the CPU image lacks, so that the request would kill the engine;
and with one it holds up every other request for half a minute."""


def engine_arguments(settings: EngineSettings) -> list[str]:
    """The arguments as on vLLM's command line, but for those of adapters, which their files tell."""
    given = settings.model.engine_args
    options: dict[str, str | int | float | None] = {
        "--model": settings.model.source,
        "--served-model-name": settings.model.name,
        "--dtype": given.dtype,
        "--max-num-seqs": settings.max_num_seqs,
        "--max-model-len": given.max_model_len,
        "--max-num-batched-tokens": given.max_num_batched_tokens,
        "--quantization": given.quantization,
        "--allowed-media-domains": NO_MEDIA_DOMAIN,
        "--tool-call-parser": given.tool_call_parser,
    }
    flags = ["--enable-auto-tool-choice"] if given.tool_call_parser else []
    if settings.gpus:
        options["--tensor-parallel-size"] = settings.gpus
        if given.gpu_memory_utilization_percent is not None:
            options["--gpu-memory-utilization"] = given.gpu_memory_utilization_percent / 100
        if settings.gpus > 1:
            options["--distributed-executor-backend"] = "mp"  # all devices are in this pod; Ray places pods, not ranks
    else:
        flags.append("--enforce-eager")
    return [*(word for name, value in options.items() if value is not None for word in (name, str(value))), *flags]


def engine_environment(settings: EngineSettings, environment: dict[str, str]) -> dict[str, str]:
    """Variables to set before vLLM is imported; what the pod sets itself is left alone."""
    wanted = {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "WARNING", "VLLM_LOGGING_STREAM": "ext://sys.stderr"}
    if not settings.gpus:
        wanted[CPU_KV_CACHE_VARIABLE] = CPU_KV_CACHE_GIB
        wanted[NO_COMPILER_VARIABLE] = "1"
    if all(map(is_local, (settings.model.source, *(adapter.source for adapter in settings.model.adapters)))):
        wanted["HF_HUB_OFFLINE"] = "1"
    return {name: value for name, value in wanted.items() if name not in environment}
