"""Calls of tools: vLLM reads them with the parser that the spec names, for endpoints and rows alike."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, get_args

import pytest
from bad_lines import TOOL
from validation_builders import model_folder
from workload_builders import MODEL, chat, request

from tidemill_api.conditions import Reason
from tidemill_api.v1alpha1.common import EngineArgs, ModelSpec, ToolCallParser
from tidemill_workloads.engine.interface import EngineSettings
from tidemill_workloads.engine.vllm_engine import require_parser
from tidemill_workloads.errors import JobRefused
from tidemill_workloads.judge import Judge
from tidemill_workloads.line_checks import check_line

if TYPE_CHECKING:
    from tidemill_workloads.problems import BadLine

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # vLLM's own imports

TOOLS = {"tools": [TOOL], "tool_choice": "auto"}


def test_the_parsers_are_those_of_vllm() -> None:
    from vllm.tool_parsers import ToolParserManager

    assert sorted(get_args(ToolCallParser)) == sorted(ToolParserManager.list_registered())


def test_a_parser_that_does_not_suit_the_model_is_refused_before_the_model_is_loaded() -> None:
    from vllm.config import ModelConfig

    config = SimpleNamespace(model_config=ModelConfig(str(model_folder("smollm2")), dtype="float32"))
    require_parser(None, config)
    require_parser("hermes", config)
    with pytest.raises(JobRefused, match="tool call token") as refused:
        require_parser("mistral", config)
    assert refused.value.reason == Reason.INVALID_SPEC
    assert refused.value.message.startswith("spec.model.engineArgs.toolCallParser: vLLM's parser mistral cannot")


def judged(parser: str | None, **body: object) -> BadLine | None:
    args = EngineArgs(max_model_len=512, tool_call_parser=parser)
    settings = EngineSettings(ModelSpec(name=MODEL, source=str(model_folder("smollm2")), engine_args=args), gpus=0)
    with Judge.of(settings) as rules:
        return check_line(json.dumps(request("a", body=chat(**body))).encode(), rules)[1]


def test_rows_with_tools_are_for_engines_that_parse_their_calls() -> None:
    assert judged("hermes", **TOOLS) is None
    bad = judged(None, **TOOLS)
    assert bad is not None
    assert bad.param == "body.tool_choice"
    assert "set spec.model.engineArgs.toolCallParser of the job" in bad.message
