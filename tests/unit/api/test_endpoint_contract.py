"""What operator and Serve application agree on survives the way between them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tidemill_api import endpoint_contract, job_contract
from tidemill_api.endpoint_conditions import STARTUP_PROBLEMS, EndpointReason
from tidemill_api.endpoint_contract import EndpointConfig, EngineProblem, IngressSettings

CONFIG = {
    "namespace": "team",
    "name": "chat",
    "revision": "abc",
    "model": {"name": "m", "source": "/models/m", "adapters": [{"name": "a", "source": "org/a"}]},
    "gpus_per_replica": 0,
    "max_sequences": 8,
    "drain_seconds": 60,
}


def test_the_arguments_survive_serves_json():
    config = EndpointConfig.model_validate(CONFIG)
    assert EndpointConfig.model_validate(json.loads(config.model_dump_json())) == config
    assert config.endpoint == "team/chat"


@pytest.mark.parametrize(("sequences", "held"), [(1, 3), (8, 10), (128, 144), (4096, 4608)])
def test_a_replica_holds_a_full_batch_and_a_reserve(sequences, held):
    assert EndpointConfig.model_validate(CONFIG | {"max_sequences": sequences}).max_ongoing_requests == held


def test_an_argument_that_is_not_known_is_refused():
    with pytest.raises(ValidationError):
        EndpointConfig.model_validate(CONFIG | {"autoscaling_config": {}})
    with pytest.raises(ValidationError):
        IngressSettings.model_validate({"queue_bound": 0, "request_timeout_seconds": 1})


@given(st.sampled_from(sorted(STARTUP_PROBLEMS)), st.text(max_size=60), st.text("ab\n'\"}{", max_size=30))
def test_a_problem_is_found_in_the_traceback_around_it(reason, message, noise):
    problem = EngineProblem(reason=reason, message=message)
    text = f"Traceback\n  {noise}\nEngineStartError: {problem.to_text()}\nmore {noise.replace(chr(10), ' ')}"
    assert EngineProblem.from_text(text.rsplit("\nmore", 1)[0]) == problem
    assert EngineProblem.from_text(f"RuntimeError('{problem.to_text()}')") == problem


@pytest.mark.parametrize("text", ["", "ValueError: no", "TIDEMILL_PROBLEM {", 'TIDEMILL_PROBLEM {"reason": "Nope"}'])
def test_what_is_no_problem_of_ours_is_none(text):
    assert EngineProblem.from_text(text) is None


def test_the_last_problem_wins():
    first = EngineProblem(reason=EndpointReason.MODEL_NOT_FOUND, message="a")
    last = EngineProblem(reason=EndpointReason.MODEL_NOT_LOADABLE, message="b")
    assert EngineProblem.from_text(f"{first.to_text()}\n{last.to_text()}\nat the end") == last


def test_names_that_both_contracts_have_mean_the_same():
    assert endpoint_contract.ENGINE_VARIABLE == job_contract.ENGINE_VARIABLE
    assert endpoint_contract.ENGINE_RESOURCE == job_contract.ENGINE_RESOURCE
    ports = {endpoint_contract.HTTP_PORT, endpoint_contract.INGRESS_METRICS_PORT, endpoint_contract.ENGINE_METRICS_PORT}
    rays_own = {6379, 8265, 10001, 8080, 52365}
    assert len(ports) == 3
    assert not ports & rays_own


def test_every_figure_says_which_half_it_belongs_to():
    names = [value for name, value in vars(endpoint_contract).items() if name.startswith("METRIC_")]
    assert len(set(names)) == len(names) > 10
    assert all(name.startswith(("tidemill_endpoint_", "tidemill_engine_")) for name in names)
