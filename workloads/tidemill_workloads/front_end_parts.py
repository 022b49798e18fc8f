"""The parts of vLLM's front end, put together as its render server does: config, renderer, checks of the input.

The only place but `engine.vllm_engine` that builds something of vLLM's; used by `front_end`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tidemill_workloads.engine.arguments import engine_arguments
from tidemill_workloads.engine.vllm_engine import parse_arguments
from tidemill_workloads.request_types import take_the_cpu_where_there_is_no_device

if TYPE_CHECKING:
    from tidemill_workloads.engine.interface import EngineSettings

_NOT_EMBEDDING = ("Classification", "RewardModel", "ForRanking", "ForRetrieval")
"""Endings of the architectures whose poolers give something else than an embedding."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a request passes on its way to vLLM's engine."""

    model_config: Any
    renderer: Any
    chat_and_completions: Any
    embeddings: Any
    input_processor: Any
    sampling_defaults: dict[str, Any]
    tasks: tuple[str, ...]


def build(settings: EngineSettings) -> Parts:
    """Raises whatever vLLM raises where it does not take the model with these engine arguments."""
    take_the_cpu_where_there_is_no_device()
    from vllm.config import VllmConfig
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.renderers import renderer_from_config
    from vllm.v1.engine.input_processor import InputProcessor

    arguments = parse_arguments(engine_arguments(settings))
    engine_args = AsyncEngineArgs.from_cli_args(arguments)
    model_config = engine_args.create_model_config()
    model_config.quantization = None  # nothing is computed here, so no kernel has to be there
    config = VllmConfig(
        model_config=model_config,
        structured_outputs_config=engine_args.create_structured_outputs_config(),
    )
    renderer = renderer_from_config(config)
    tasks = _tasks(model_config)
    return Parts(
        model_config=model_config,
        renderer=renderer,
        chat_and_completions=_online_renderer(config, renderer, arguments) if "generate" in tasks else None,
        embeddings=_embed_processor(config, renderer, arguments) if "embed" in tasks else None,
        input_processor=InputProcessor(config, renderer),
        sampling_defaults=model_config.get_diff_sampling_param(),
        tasks=tasks,
    )


def _tasks(model_config: Any) -> tuple[str, ...]:
    """What the loaded model would say it supports, as far as its class and config tell (`GPUModelRunner`'s rule)."""
    info, architecture = model_config.registry.inspect_model_cls(model_config.architectures, model_config)
    if model_config.runner_type == "generate":
        return ("generate",) if info.is_text_generation_model and not info.supports_transcription_only else ()
    if model_config.convert_type == "classify" or architecture.endswith(_NOT_EMBEDDING):
        return ()
    return ("embed",)


def _online_renderer(config: Any, renderer: Any, arguments: Any) -> Any:
    from vllm.renderers.chat_utils import load_chat_template
    from vllm.renderers.online_renderer import OnlineRenderer

    return OnlineRenderer(
        model_config=config.model_config,
        renderer=renderer,
        request_logger=None,
        chat_template=load_chat_template(arguments.chat_template),
        chat_template_content_format=arguments.chat_template_content_format,
        trust_request_chat_template=arguments.trust_request_chat_template,
        trust_request_mm_kwargs=arguments.trust_request_mm_kwargs,
        enable_auto_tools=arguments.enable_auto_tool_choice,
        exclude_tools_when_tool_choice_none=arguments.exclude_tools_when_tool_choice_none,
        tool_parser=arguments.tool_call_parser,
        tool_strict_level=arguments.tool_strict_level,
        reasoning_parser=config.structured_outputs_config.reasoning_parser,
    )


def _embed_processor(config: Any, renderer: Any, arguments: Any) -> Any:
    from vllm.entrypoints.pooling.embed.io_processor import EmbedIOProcessor
    from vllm.renderers.chat_utils import ChatTemplateConfig, load_chat_template

    template = ChatTemplateConfig(
        chat_template=load_chat_template(arguments.chat_template),
        chat_template_content_format=arguments.chat_template_content_format,
        trust_request_chat_template=arguments.trust_request_chat_template,
    )
    return EmbedIOProcessor(config, renderer, template)  # type: ignore[no-untyped-call] # vLLM leaves it so
