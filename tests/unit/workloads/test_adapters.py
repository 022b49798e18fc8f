"""LoRA adapters: what their files tell, what vLLM is told of them, and who may ask for them."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from lora_adapters import TINY, make_adapter
from safetensors.numpy import save_file
from workload_builders import MODEL, model_at, request

from tidemill_api.conditions import Reason
from tidemill_api.v1alpha1.common import ModelSpec
from tidemill_workloads.adapter_files import Adapter, check_adapters, fetch_adapters
from tidemill_workloads.adapter_shapes import fault_of, require_shapes
from tidemill_workloads.engine.arguments import engine_environment
from tidemill_workloads.engine.interface import EngineSettings
from tidemill_workloads.engine.vllm_adapters import adapter_arguments, load_adapters, require_served
from tidemill_workloads.errors import JobRefused
from tidemill_workloads.judge import Judge
from tidemill_workloads.line_checks import check_line
from tidemill_workloads.model_check import check_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def spec(root: Path, *adapters: tuple[str, str]) -> ModelSpec:
    named = [{"name": name, "source": source} for name, source in adapters]
    return ModelSpec(name=MODEL, source=str(model_at(root / "model")), adapters=named)


def refusal(call: Callable[..., Any], *args: Any) -> JobRefused:
    with pytest.raises(JobRefused) as refused:
        call(*args)
    return refused.value


def test_adapters_are_read_with_their_ranks(tmp_path: Path) -> None:
    plain = make_adapter(tmp_path / "plain", TINY, rank=4)
    patterned = make_adapter(tmp_path / "patterned", TINY, rank=4, rank_pattern={"q_proj": 12})
    model = spec(tmp_path, ("plain", str(plain)), ("patterned", str(patterned)))
    check_model(model, [str(tmp_path)])
    assert fetch_adapters(model.adapters) == (Adapter("plain", plain, 4), Adapter("patterned", patterned, 12))


FAULTS: dict[str, tuple[Callable[[Path], Any], Reason, str]] = {
    "no folder": (lambda folder: folder.rename(folder.with_name("b")), Reason.MODEL_NOT_FOUND, "there is no folder"),
    "no config": (
        lambda folder: (folder / "adapter_config.json").unlink(),
        Reason.MODEL_NOT_FOUND,
        "holds no adapter_config.json",
    ),
    "pickled weights": (
        lambda folder: (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin"),
        Reason.MODEL_NOT_FOUND,
        "save the adapter as safetensors",
    ),
    "broken config": (
        lambda folder: (folder / "adapter_config.json").write_text("{"),
        Reason.MODEL_NOT_LOADABLE,
        "cannot be read",
    ),
    "no object": (
        lambda folder: (folder / "adapter_config.json").write_text("[]"),
        Reason.MODEL_NOT_LOADABLE,
        "not the config of a LoRA adapter",
    ),
    "another kind": (
        lambda folder: (folder / "adapter_config.json").write_text('{"peft_type": "IA3", "r": 8}'),
        Reason.MODEL_NOT_LOADABLE,
        "peft_type 'IA3'",
    ),
    "no rank": (
        lambda folder: (folder / "adapter_config.json").write_text('{"r": 8, "rank_pattern": {"q_proj": 0}}'),
        Reason.MODEL_NOT_LOADABLE,
        "names no rank",
    ),
    "half the weights": (
        lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"\x40\0\0\0\0\0\0\0{"),
        Reason.MODEL_NOT_LOADABLE,
        "was it copied whole?",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_adapter_that_is_missing_or_broken_is_named(tmp_path: Path, fault: str) -> None:
    spoil, reason, says = FAULTS[fault]
    folder = make_adapter(tmp_path / "support", TINY)
    model = spec(tmp_path, ("support", str(folder)))
    spoil(folder)
    for found in (refusal(check_model, model, [str(tmp_path)]), refusal(fetch_adapters, model.adapters)):
        assert found.reason == reason
        assert found.message.startswith("spec.model.adapters[support]")
        assert says in found.message


def base_model(folder: Path, **changes: Any) -> Path:
    """The weights of the model of `TINY`, or of one that differs."""
    shape = TINY | changes
    query = (shape["num_attention_heads"] * shape["head_dim"], shape["hidden_size"])
    value = (shape["num_key_value_heads"] * shape["head_dim"], shape["hidden_size"])
    layers = [f"model.layers.{number}.self_attn" for number in range(shape["num_hidden_layers"])]
    tensors = {f"{layer}.q_proj.weight": np.zeros(query, np.float16) for layer in layers}
    tensors |= {f"{layer}.v_proj.weight": np.zeros(value, np.float16) for layer in layers}
    model_at(folder)
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ({"hidden_size": 6}, "q_proj is 4 x 6 in the model and 4 x 4 in the adapter"),
        ({"num_key_value_heads": 2}, "v_proj is 4 x 4 in the model and 2 x 4 in the adapter"),
        ({"num_hidden_layers": 2}, ""),
    ],
)
def test_an_adapter_of_another_model_is_refused_though_vllm_would_take_it(
    tmp_path: Path, model: dict[str, int], says: str
) -> None:
    folder = make_adapter(tmp_path / "a", TINY)
    named = spec(tmp_path, ("a", str(folder)))
    base_model(tmp_path / "model", **model)
    if not says:
        check_model(named, [str(tmp_path)])
        return
    found = refusal(check_model, named, [str(tmp_path)])
    assert found.reason == Reason.MODEL_NOT_LOADABLE
    assert found.message.startswith(f"spec.model.adapters[a]: it was made from another model than {tmp_path}/model")
    assert says in found.message


def test_an_adapter_with_more_layers_than_the_model_is_refused(tmp_path: Path) -> None:
    named = spec(tmp_path, ("a", str(make_adapter(tmp_path / "a", TINY | {"num_hidden_layers": 2}))))
    base_model(tmp_path / "model")
    assert "the model has no model.layers.1.self_attn" in refusal(check_model, named, [str(tmp_path)]).message


def test_a_model_of_the_hub_is_compared_once_it_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    adapter = Adapter("a", make_adapter(tmp_path / "a", TINY), 8)
    require_shapes("org/model", [adapter])  # nothing is here to compare with
    snapshot = tmp_path / "models--org--model" / "snapshots" / ("0" * 40)
    base_model(snapshot, hidden_size=6)
    (tmp_path / "models--org--model" / "refs").mkdir()
    (tmp_path / "models--org--model" / "refs" / "main").write_text(snapshot.name)
    assert "another model than org/model" in refusal(require_shapes, "org/model", [adapter]).message


def test_layers_that_the_models_files_name_in_another_way_are_left_to_vllm() -> None:
    adapter = {
        "base_model.model.lm_head.lora_A.weight": (8, 4),
        "base_model.model.model.layers.0.mlp.experts.0.w1.lora_B.weight": (6, 8),
        "base_model.model.transformer.h.0.attn.c_attn.lora_A.weight": (8, 4),
        "base_model.model.transformer.h.0.attn.c_attn.lora_B.weight": (12, 8),
    }
    model = {"model.layers.0.mlp.gate_up.weight": (12, 4), "transformer.h.0.attn.c_attn.weight": (4, 12)}
    assert fault_of(adapter, model) == ""


def test_an_adapter_outside_of_the_mounts_is_refused(tmp_path: Path) -> None:
    found = refusal(check_adapters, spec(tmp_path, ("a", "/elsewhere/a")).adapters, [str(tmp_path)])
    assert (found.reason, found.message[:32]) == (Reason.INVALID_SPEC, "spec.model.adapters[a].source: /")


def test_an_adapter_that_the_hub_does_not_have_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    adapters = spec(tmp_path, ("a", "some-org/some-adapter")).adapters
    for found in (refusal(check_adapters, adapters, []), refusal(fetch_adapters, adapters)):
        assert found.reason == Reason.MODEL_NOT_FOUND
        assert "some-org/some-adapter" in found.message
        assert "\n" not in found.message


def test_the_hub_stays_open_for_an_adapter_of_the_hub(tmp_path: Path) -> None:
    for source, offline in (("/data/a", True), ("org/a", False)):
        settings = EngineSettings(spec(tmp_path, ("a", source)), gpus=0)
        assert ("HF_HUB_OFFLINE" in engine_environment(settings, {})) is offline


@pytest.mark.parametrize(
    ("ranks", "told"),
    [
        ((4,), {"--max-lora-rank": "8", "--max-loras": "1", "--max-cpu-loras": "1"}),
        ((8, 17), {"--max-lora-rank": "32", "--max-loras": "2", "--max-cpu-loras": "2"}),
        ((512,) * 20, {"--max-lora-rank": "512", "--max-loras": "8", "--max-cpu-loras": "20"}),
    ],
)
def test_vllm_makes_room_for_the_adapters(tmp_path: Path, ranks: tuple[int, ...], told: dict[str, str]) -> None:
    words = adapter_arguments([Adapter(f"a{number}", tmp_path, rank) for number, rank in enumerate(ranks)])
    assert words[0] == "--enable-lora"
    assert dict(zip(words[1::2], words[2::2], strict=True)) == told


def test_an_engine_without_adapters_makes_no_room_for_any() -> None:
    assert adapter_arguments([]) == []


def test_a_rank_that_vllm_does_not_take_is_refused_by_name(tmp_path: Path) -> None:
    found = refusal(adapter_arguments, [Adapter("small", tmp_path, 8), Adapter("large", tmp_path, 513)])
    assert found.reason == Reason.MODEL_NOT_LOADABLE
    assert found.message.startswith("spec.model.adapters[large]: its rank is 513")


def test_the_ranks_are_those_of_vllm() -> None:
    from typing import get_args

    from vllm.config.lora import MaxLoRARanks

    from tidemill_workloads.engine.vllm_adapters import RANKS

    assert get_args(MaxLoRARanks) == RANKS


def test_an_adapter_that_vllm_cannot_serve_is_named_before_the_model_is_loaded(tmp_path: Path) -> None:
    from vllm.config.lora import LoRAConfig

    config = SimpleNamespace(lora_config=LoRAConfig(max_lora_rank=8))
    good = Adapter("good", make_adapter(tmp_path / "good", TINY), 8)
    require_served([good], config)
    dora = Adapter("dora", make_adapter(tmp_path / "dora", TINY, use_dora=True), 8)
    found = refusal(require_served, [good, dora], config)
    assert found.reason == Reason.MODEL_NOT_LOADABLE
    assert found.message.startswith("spec.model.adapters[dora]: ")
    assert "DoRA" in found.message


async def test_the_adapter_that_vllm_fails_to_load_is_named(tmp_path: Path) -> None:
    from http import HTTPStatus

    from vllm.entrypoints.serve import create_error_response

    class Models:
        """Stands for vLLM's serving layer: takes the first adapter and not the second."""

        async def load_lora_adapter(self, request: Any) -> Any:
            if request.lora_name == "first":
                return "Success"
            return create_error_response("shapes\ndiffer", "InternalServerError", HTTPStatus.INTERNAL_SERVER_ERROR)

    with pytest.raises(JobRefused, match=r"adapters\[second\]: vLLM cannot load it: shapes differ"):
        await load_adapters(Models(), str(tmp_path), [Adapter("first", tmp_path, 8), Adapter("second", tmp_path, 8)])


def test_rows_may_ask_for_the_model_and_for_each_adapter(tmp_path: Path) -> None:
    model = spec(tmp_path, ("support", str(tmp_path)), ("team/sales", "org/a"))
    with Judge.of(EngineSettings(model, gpus=0)) as rules:
        for name in (MODEL, "support", "team/sales"):
            body = request("a")["body"] | {"model": name}
            assert check_line(json.dumps(request("a", body=body)).encode(), rules)[1] is None
        body = request("a")["body"] | {"model": "other"}
        bad = check_line(json.dumps(request("a", body=body)).encode(), rules)[1]
    assert bad is not None
    assert bad.message == f"body.model: this job serves the model '{MODEL}' or 'support' or 'team/sales', not 'other'."
