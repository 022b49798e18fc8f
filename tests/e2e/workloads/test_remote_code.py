"""Models that bring code along: none of it is ever run, neither where rows are judged nor where the engine starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from workload_builders import job, request, write_lines

from tidemill_api.job_contract import CONFIG_VARIABLE
from tidemill_api.v1alpha1.common import ModelSpec

pytestmark = [pytest.mark.engine, pytest.mark.all, pytest.mark.timeout(600)]

MODEL = Path(__file__).parents[3] / ".tidemill" / "models" / "smollm2"
CODE = """
import os, pathlib
pathlib.Path(os.environ["CODE_RAN"]).touch()
from transformers import LlamaConfig as EvilConfig, LlamaForCausalLM as EvilModel
from transformers import PreTrainedTokenizerFast as EvilTokenizer
"""
ENGINE = """
import asyncio, sys
from tidemill_api.v1alpha1.common import ModelSpec
from tidemill_workloads.engine.interface import EngineSettings
from tidemill_workloads.engine.vllm_engine import create

async def main():
    model = ModelSpec.model_validate({"name": "m", "source": sys.argv[1], "engineArgs": {"maxModelLen": 256}})
    engine = create(EngineSettings(model, 0))
    await engine.start()
    print("the engine started")
    await engine.close()

if __name__ == "__main__":
    asyncio.run(main())
"""


def with_code(folder: Path, model_type: str) -> Path:
    """The model, its config and tokenizer naming classes of a module that it brings along."""
    folder.mkdir()
    for file in MODEL.iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "evil.py").write_text(CODE)
    (folder / "pytorch_model.py").write_text(CODE)
    classes = {"AutoConfig": "evil.EvilConfig", "AutoModelForCausalLM": "evil.EvilModel"}
    _rewrite(folder / "config.json", model_type=model_type, auto_map=classes)
    tokenizer = {"AutoTokenizer": ["evil.EvilTokenizer", "evil.EvilTokenizer"]}
    _rewrite(folder / "tokenizer_config.json", tokenizer_class="EvilTokenizer", auto_map=tokenizer)
    return folder


def _rewrite(file: Path, **changes: object) -> None:
    content = json.loads(file.read_text()) | changes
    file.unlink()
    file.write_text(json.dumps(content))


def run(words: list[str], marker: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The program with every variable that the libraries know for running such code."""
    willing = {"CODE_RAN": str(marker), "TRUST_REMOTE_CODE": "1", "HF_HUB_TRUST_REMOTE_CODE": "1"}
    return subprocess.run(
        [sys.executable, *words],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"} | willing | environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


@pytest.mark.parametrize("model_type", ["llama", "evil"])
def test_validation_runs_no_code_of_a_model(tmp_path: Path, model_type: str) -> None:
    """A row with a grammar is one that only vLLM itself can judge."""
    source = with_code(tmp_path / "evil-model", model_type)
    grammar = request("a")["body"] | {"response_format": {"type": "json_object"}, "logit_bias": {"5": 1}}
    write_lines(tmp_path / "input.jsonl", [request("a", body=grammar)])
    config = job(tmp_path, model=ModelSpec(name="m", source=str(source)))
    done = run(["-m", "tidemill_workloads"], tmp_path / "ran", **{CONFIG_VARIABLE: config.model_dump_json()})
    assert not (tmp_path / "ran").exists(), done.stderr
    assert (tmp_path / "output" / "job.json").exists(), done.stderr


@pytest.mark.parametrize("model_type", ["llama", "evil"])
def test_the_engine_runs_no_code_of_a_model(tmp_path: Path, model_type: str) -> None:
    program = tmp_path / "engine.py"
    program.write_text(ENGINE)
    source = with_code(tmp_path / "evil-model", model_type)
    done = run([str(program), str(source)], tmp_path / "ran")
    assert not (tmp_path / "ran").exists(), done.stderr
    assert "the engine started" in done.stdout or "trust_remote_code" in done.stderr, done.stderr[-3000:]
