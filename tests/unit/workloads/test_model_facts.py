"""What a model's files tell of it: read as vLLM reads them where that is plain, and else left to vLLM."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from validation_builders import real_model, with_vllm

from tidemill_api.v1alpha1.common import EngineArgs, ModelSpec
from tidemill_workloads.engine.interface import EngineSettings
from tidemill_workloads.judge import Judge
from tidemill_workloads.line_checks import check_line
from tidemill_workloads.model_facts import ModelFacts, read_facts
from tidemill_workloads.urls import CHAT, COMPLETIONS, EMBEDDINGS, URLS

POOLING = [{"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}]


def facts_of(folder: Path, max_model_len: int | None = None, **files: Any) -> ModelFacts:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return read_facts(ModelSpec(name="m", source=str(folder), engine_args=EngineArgs(max_model_len=max_model_len)))


@pytest.mark.parametrize(
    ("architectures", "modules", "urls"),
    [
        (["LlamaForCausalLM"], None, (CHAT, COMPLETIONS)),
        (["BertModel"], POOLING, (EMBEDDINGS,)),
        (["Qwen3ForCausalLM"], POOLING, (EMBEDDINGS,)),
        (["BertForSequenceClassification"], POOLING, None),
        (["WhisperForConditionalGeneration"], None, None),
        (["BertModel"], None, None),
        ([], None, URLS),
    ],
)
def test_what_a_model_serves_is_told_where_it_is_plain(
    tmp_path: Path, architectures: list[str], modules: Any, urls: tuple[str, ...] | None
) -> None:
    files = {"config": {"architectures": architectures}} | ({"modules": modules} if modules else {})
    assert facts_of(tmp_path, **files).urls == urls


@pytest.mark.parametrize(("folder", "urls"), [("smollm2", (CHAT, COMPLETIONS)), ("minilm", (EMBEDDINGS,))])
def test_vllm_says_the_same_of_the_real_models(folder: str, urls: tuple[str, ...]) -> None:
    with with_vllm(real_model(folder)) as rules:
        assert rules.front_end is not None
        assert rules.facts.urls == rules.front_end.urls == urls
        assert rules.facts.length is not None
        assert rules.facts.length <= rules.front_end.length


def test_the_length_is_the_specs_or_the_least_that_the_files_name(tmp_path: Path) -> None:
    config = {"architectures": ["A"], "max_position_embeddings": 8192, "text_config": {"sliding_window": 4096}}
    assert facts_of(tmp_path, config=config).length == 4096
    assert facts_of(tmp_path, max_model_len=6000, config=config).length == 6000
    assert facts_of(tmp_path / "other", config={"architectures": ["A"]}).length is None


@pytest.mark.parametrize("name", ["processor_config", "tekken"])
def test_a_model_that_renders_by_other_means_has_neither_bound_nor_template(tmp_path: Path, name: str) -> None:
    tokenizer = {"model": {"type": "BPE"}, "pre_tokenizer": {"type": "ByteLevel"}, "post_processor": None}
    files = {
        "config": {"architectures": ["LlamaForCausalLM"]},
        "tokenizer": tokenizer,
        "tokenizer_config": {"chat_template": "{% for m in messages %}{{ m.content }}{% endfor %}"},
    }
    plain = facts_of(tmp_path / "plain", **files)
    assert plain.bound is not None
    assert plain.template is not None
    other = facts_of(tmp_path / "other", **files, **{name: {}})
    assert other.bound is other.template is None


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b"null"])
def test_files_that_cannot_be_read_tell_nothing(tmp_path: Path, content: bytes) -> None:
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "modules.json", "chat_template.jinja"):
        (tmp_path / name).write_bytes(content)
    facts = facts_of(tmp_path)
    assert (facts.known, facts.length, facts.bound) == (False, None, None)


def test_a_model_that_vllm_does_not_take_here_has_its_rows_judged_by_type_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    facts_of(tmp_path, config={"architectures": ["NoSuchForCausalLM"], "model_type": "no-such-model"})
    with Judge.of(EngineSettings(ModelSpec(name="m", source=str(tmp_path)), gpus=0)) as rules:
        assert check_line(chat_line(), rules) == ("a", None)
        _, problem = check_line(chat_line(temperature="warm"), rules)
    assert problem is not None
    assert problem.param == "body.temperature"
    assert [record.message for record in caplog.records].count(
        "vLLM's front end takes no model here; lengths are left to the engine"
    ) == 1


def chat_line(**more: Any) -> bytes:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **more}
    return json.dumps({"custom_id": "a", "method": "POST", "url": CHAT, "body": body}).encode()


WITHOUT_DEVICE = """
import sys
from vllm import platforms
platforms.builtin_platform_plugins.clear()  # as in vLLM's build for GPUs on a node without one
from test_model_facts import chat_line
from validation_builders import real_model
from tidemill_workloads.line_checks import check_line
with real_model("smollm2", max_model_len=64) as rules:
    fits = check_line(chat_line(top_k=3), rules)[1]
    long = check_line(chat_line(max_tokens=65), rules)[1]
    print(platforms.current_platform.device_type, fits, long.code)
"""


def test_a_head_without_the_engines_device_judges_all_the_same() -> None:
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_DEVICE],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.splitlines()[-1:] == ["cpu None context_length_exceeded"], done.stderr[-2000:]
