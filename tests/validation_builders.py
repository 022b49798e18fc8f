"""Rules for the tests of validation: of a model that nothing is known of, and of the real ones on this machine."""

from __future__ import annotations

from pathlib import Path

from tidemill_api.v1alpha1.common import EngineArgs, ModelSpec
from tidemill_workloads.engine.interface import EngineSettings
from tidemill_workloads.judge import Judge
from tidemill_workloads.model_facts import ModelFacts
from tidemill_workloads.urls import URLS

MODELS = Path(__file__).parents[1] / ".tidemill" / "models"


def model_folder(name: str) -> Path:
    """The folder of a real model."""
    folder = MODELS / name
    assert (folder / "config.json").is_file(), f"no model in {folder}: run ./hack/setup.sh first"
    return folder


def any_model(name: str = "m") -> Judge:
    """Rules for a model without files: vLLM's request types judge its rows, their length is not known."""
    settings = EngineSettings(ModelSpec(name=name, source="/nowhere"), gpus=0)
    facts = ModelFacts(known=False, urls=URLS, length=None, vocabulary=0, bound=None, template=None)
    return Judge(settings, facts)


def real_model(folder: str, name: str = "m", max_model_len: int | None = None) -> Judge:
    """Rules for a real model on this machine."""
    args = EngineArgs(max_model_len=max_model_len)
    return Judge.of(EngineSettings(ModelSpec(name=name, source=str(model_folder(folder)), engine_args=args), gpus=0))


def with_vllm(judge: Judge) -> Judge:
    """The same rules with vLLM loaded, and its front end where the model is known."""
    _ = judge.front_end if judge.facts.known else None
    _ = judge.types
    return judge
