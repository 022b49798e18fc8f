"""How many threads an engine on the CPU computes with: its own share of a node that it shares."""

from typing import Any

import pytest
from unit.operator.builders import make_spec

from tidemill_operator.manifests.pods import engine_threads, worker_role

BIND = "VLLM_CPU_OMP_THREADS_BIND"


def resources(cpu: str, gpu: int = 0) -> dict[str, Any]:
    return {"cpu": cpu, "gpu": gpu, "memory": "4Gi"}


@pytest.mark.parametrize(
    ("cpu", "threads"), [("500m", "1"), ("1", "1"), ("2", "1"), ("2500m", "1"), ("4", "3"), ("16", "15")]
)
def test_an_engine_takes_its_cores_less_one_for_the_scheduler_and_is_bound_to_none(cpu: str, threads: str) -> None:
    spec = make_spec(resources=resources(cpu))
    assert engine_threads(spec) == {"OMP_NUM_THREADS": threads, BIND: "nobind"}
    assert worker_role(spec).env.items() >= engine_threads(spec).items()


def test_an_engine_on_a_gpu_is_left_to_vllm() -> None:
    assert engine_threads(make_spec(resources=resources("8", gpu=1))) == {}


def test_what_the_user_sets_is_left_alone() -> None:
    env = [{"name": "OMP_NUM_THREADS", "value": "2"}, {"name": BIND, "value": "0-1"}]
    assert engine_threads(make_spec(resources=resources("8"), template={"env": env})) == {}
    assert engine_threads(make_spec(resources=resources("8"), template={"env": env[:1]})) == {BIND: "nobind"}
