"""The endpoint that the demo applies: its volumes, and what its spec makes the demo wait for."""

from pathlib import Path
from typing import Any

import pytest

from demo.errors import DemoError
from demo.manifests import load_manifest
from demo.realtime.endpoint import KIND, render
from demo.stage import EXAMPLES
from tidemill_operator.core.endpoint.law import Law, size_by_depth

MODELS = Path("/checkout/models")


def example(name: str = "chat-endpoint.yaml") -> dict[str, Any]:
    return load_manifest(EXAMPLES / name, KIND)


@pytest.mark.parametrize("name", ["chat-endpoint.yaml", "embeddings-endpoint.yaml"])
def test_claims_of_the_examples_become_the_checkouts_models(name: str) -> None:
    endpoint = render(example(name), MODELS)
    assert endpoint.manifest["spec"]["template"]["volumes"] == [{"name": "models", "hostPath": {"path": str(MODELS)}}]


def test_the_manifest_given_is_left_as_it_was() -> None:
    given = example()
    render(given, MODELS)
    assert given == example()


def test_a_host_path_of_the_manifest_is_kept() -> None:
    given = example()
    given["spec"]["template"]["volumes"] = [{"name": "models", "hostPath": {"path": "/mine"}}]
    assert render(given, MODELS).manifest["spec"]["template"]["volumes"][0]["hostPath"]["path"] == "/mine"


def test_defaults_of_the_spec_are_known() -> None:
    endpoint = render({"metadata": {"name": "x"}, "spec": {"model": {"name": "m", "source": "a/b"}}}, MODELS)
    assert (endpoint.secret, endpoint.awake, endpoint.target_age_seconds) == ("", 1, 2.0)
    assert endpoint.namespace == "default"


def test_the_secret_is_the_one_that_the_spec_names() -> None:
    assert render(example(), MODELS).secret == "chat-keys"


@pytest.mark.parametrize("most", [2, 3, 7])
def test_the_crowd_asks_for_every_replica_by_depth_alone(most: int) -> None:
    given = example()
    given["spec"]["replicas"]["max"] = most
    endpoint = render(given, MODELS)
    assert size_by_depth(endpoint.crowd, 1, Law.of(endpoint.spec)) == most


@pytest.mark.parametrize(("stabilization", "to_zero", "pause"), [(30, 20, 20 / 3), (15, 600, 5), (300, 600, 10)])
def test_a_crowd_pauses_for_less_than_the_endpoint_takes_for_calm(
    stabilization: int, to_zero: int, pause: float
) -> None:
    given = example()
    given["spec"]["scaling"] |= {
        "scaleDown": {"stabilizationSeconds": stabilization},
        "scaleToZeroAfterSeconds": to_zero,
    }
    assert render(given, MODELS).pause_seconds == pytest.approx(pause)


def test_a_spec_that_is_none_names_its_field() -> None:
    given = example()
    given["spec"]["replicas"] = {"min": 3, "max": 2}
    with pytest.raises(DemoError, match=r"chat: spec\.replicas: .*must not be above.*3 > 2"):
        render(given, MODELS)


def test_an_object_without_a_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "endpoint.yaml").write_text("kind: RealtimeEndpoint\nmetadata: {}\n")
    with pytest.raises(DemoError, match=r"no metadata\.name"):
        load_manifest(tmp_path / "endpoint.yaml", KIND)
