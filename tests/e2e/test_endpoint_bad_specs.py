"""What a user gets wrong about an endpoint: each is said where the user looks, with its field and the fix, and heals.

Read as the user reads: kubectl's refusal, the condition `Progressing`, Events, `kubectl describe`.
"""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest
from endpoint_world import KEY, MODEL, MODELS, REAL
from request_load import Load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from endpoint_world import Endpoints

pytestmark = pytest.mark.timeout(500)

KV_CACHE = {"VLLM_CPU_KVCACHE_SPACE": "1"}


def said(endpoints: Endpoints, reason: str, *words: str, seconds: float = 150) -> str:
    """Waits until `Progressing` is False for this reason, with these words in its message, an Event and `describe`."""
    message = str(endpoints.wait_condition("Progressing", "False", reason, seconds)["message"])
    assert [word for word in words if word not in message] == [], message
    assert endpoints.condition("Ready")["status"] == "False"

    def warned() -> bool:
        events = [event for event in endpoints.events() if event["reason"] == reason]
        return any(event["type"] == "Warning" and words[0] in event["message"] for event in events)

    endpoints.wait(warned, 20, f"a Warning {reason}")
    described = endpoints.kubectl("describe", "rte", "chat", "-n", endpoints.namespace)
    assert f"Warning  {reason}" in described
    return message


def refusal(endpoints: Endpoints, manifest: dict[str, Any]) -> str:
    """What kubectl says of a manifest that the API server does not take."""
    done = endpoints.kubectl.run("apply", "-f", "-", given=manifest)
    assert done.returncode != 0
    return str(done.stderr)


def test_what_the_schema_rules_out_never_gets_in(endpoints: Endpoints) -> None:
    above = refusal(endpoints, endpoints.manifest(replicas={"min": 3, "max": 2}))
    assert "spec.replicas: Invalid value" in above
    assert "replicas.min must not be above replicas.max" in above
    twice = endpoints.manifest(model=MODEL | {"engineArgs": {"maxNumSeqs": 8}})
    assert "an endpoint sets maxNumSeqs as batching.maxSequences" in refusal(endpoints, twice)
    unknown = refusal(endpoints, endpoints.manifest(autoscaling={"max": 3}))
    assert 'unknown field "spec.autoscaling"' in unknown
    keys = refusal(endpoints, endpoints.manifest(auth={"secretRef": {"name": "My_Keys"}}))
    assert "spec.auth.secretRef.name" in keys
    named = refusal(endpoints, endpoints.manifest("1st-endpoint"))
    assert "metadata.name becomes the name of the Service" in named
    elsewhere = endpoints.manifest(model=MODEL | {"source": "/elsewhere/smollm2"})
    assert "model.source is a path under no mount of the template" in refusal(endpoints, elsewhere)
    door = endpoints.manifest()
    door["spec"]["template"]["env"].append({"name": "RAY_SERVE_HTTP_PORT", "value": "1"})
    assert "template.env: the operator sets variables that begin with RAY_SERVE_" in refusal(endpoints, door)


def test_what_the_operator_does_not_allow_is_said_at_once_and_nothing_is_made(endpoints: Endpoints) -> None:
    manifest = endpoints.manifest()
    manifest["spec"]["template"]["serviceAccountName"] = "admin"
    manifest["spec"]["template"]["volumeMounts"].append({"name": "models", "mountPath": "/usr/lib"})
    endpoints.apply(manifest)
    account = "template.serviceAccountName: admin is not on the operator's list"
    said(endpoints, "InvalidSpec", account, "template.volumeMounts: /usr/lib")
    assert endpoints.pods("head") == []
    assert "InvalidSpec" in endpoints.kubectl("get", "rte", "-n", endpoints.namespace), "in the column Status"


@pytest.mark.all
def test_what_is_missing_is_awaited_and_the_endpoint_comes_up_when_it_is_there(endpoints: Endpoints) -> None:
    kubectl, here = endpoints.kubectl, ("-n", endpoints.namespace)
    kubectl("create", "service", "clusterip", "chat", "--tcp=80:80", *here)
    manifest = endpoints.manifest(auth={"secretRef": {"name": "clients"}})
    token = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}}
    manifest["spec"]["template"]["env"].append(token)
    endpoints.apply(manifest)
    said(endpoints, "ServiceNameTaken", "A Service chat that is not this endpoint's", "another name")
    kubectl("delete", "service", "chat", *here)
    said(endpoints, "SecretNotFound", f"Secret clients is not in the namespace {endpoints.namespace}: create it.")
    assert endpoints.pods("head") == [], "nothing is made that could not start"
    kubectl("create", "secret", "generic", "clients", f"--from-literal=alice={KEY}", *here)
    said(endpoints, "PodsFailing", "The head pod does not start", "token", "what they refer to")
    kubectl("patch", "secret", "keys", "--type=merge", "-p", '{"stringData": {"token": "x"}}', *here)
    endpoints.wait_condition("Ready", "True")


@pytest.mark.all
def test_replicas_beyond_the_clusters_means_are_said_while_those_that_fit_serve(
    endpoints: Endpoints, figure: Callable[..., None]
) -> None:
    """All but one CPU of a node for each replica: each node takes one, beside the head too, and one more never fits."""
    nodes = endpoints.kubectl.json("get", "nodes")["items"]
    cpus = max(int(node["status"]["allocatable"]["cpu"]) for node in nodes)
    size = len(nodes) + 1
    spec = {"replicas": {"min": size, "max": size}, "resources": {"cpu": str(max(1, cpus - 1)), "memory": "2Gi"}}
    began = time.time()
    endpoints.apply(endpoints.manifest(**spec))
    message = said(endpoints, "InsufficientCapacity", f"of {size} replicas answer", "Insufficient cpu", "Add nodes")
    figure("said after", time.time() - began)
    assert "nodes are available" in message
    endpoints.wait_condition("Available", "True", "ReplicasRunning")
    assert f"of at least {size} replicas answer" in endpoints.condition("Ready")["message"]
    with Load(endpoints.url(), KEY, clients=2) as load:
        endpoints.patch({"replicas": {"min": 1, "max": 1}})
        endpoints.wait_condition("Ready", "True")
        endpoints.wait_condition("Progressing", "False", "Settled")
    assert load.requests
    assert not load.faults
    assert len(endpoints.pods("worker")) == 1


def with_model_in(endpoints: Endpoints, folder: Path, **arguments: Any) -> dict[str, Any]:
    """An endpoint of the real engine whose model lies in this folder of the machine."""
    args = MODEL["engineArgs"] | arguments
    manifest = endpoints.manifest(
        engine=REAL, environment=KV_CACHE, model=MODEL | {"source": "/own/model", "engineArgs": args}
    )
    template = manifest["spec"]["template"]
    template["volumes"].append({"name": "own", "hostPath": {"path": str(folder.parent)}})
    template["volumeMounts"].append({"name": "own", "mountPath": "/own", "readOnly": True})
    return manifest


def put_model(folder: Path, weights: bytes | None) -> None:
    """The model's small files and these weights; None: the real ones."""
    folder.mkdir(exist_ok=True)
    for path in (MODELS / "smollm2").iterdir():
        if path.suffix != ".safetensors":
            shutil.copy(path, folder)
    target = folder / "model.safetensors"
    if weights is not None:
        target.write_bytes(weights)
    else:
        fresh = folder.parent / "fresh"
        shutil.copy(MODELS / "smollm2" / "model.safetensors", fresh)
        fresh.replace(target)


@pytest.mark.all
@pytest.mark.engine
def test_a_model_that_is_not_there_or_cut_short_is_said_and_found_when_it_is_whole(
    endpoints: Endpoints, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    endpoints.apply(with_model_in(endpoints, folder))
    said(endpoints, "ModelNotFound", "spec.model.source: /own/model holds no config.json", "Tried again at")
    with (MODELS / "smollm2" / "model.safetensors").open("rb") as whole:
        put_model(folder, whole.read(1_000_000))
    broken = "/own/model/model.safetensors is no whole file of weights"
    said(endpoints, "ModelNotLoadable", broken, seconds=240)
    assert endpoints.pods("worker") == [], "what cannot start is not paid for"
    put_model(folder, None)
    endpoints.wait_condition("Ready", "True", seconds=240)


@pytest.mark.all
@pytest.mark.engine
def test_weights_of_another_model_are_said_and_the_right_ones_found(endpoints: Endpoints, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    put_model(folder, (MODELS / "minilm" / "model.safetensors").read_bytes())
    endpoints.apply(with_model_in(endpoints, folder))
    said(endpoints, "ModelNotLoadable", "the engine cannot load it", "no module or parameter named", seconds=240)
    put_model(folder, None)
    endpoints.wait_condition("Ready", "True", seconds=240)


@pytest.mark.all
@pytest.mark.engine
def test_engine_arguments_that_do_not_fit_the_model_are_said_and_heal_when_mended(endpoints: Endpoints) -> None:
    wrong = MODEL | {"engineArgs": MODEL["engineArgs"] | {"maxModelLen": 9_000_000}}
    endpoints.apply(endpoints.manifest(engine=REAL, environment=KV_CACHE, model=wrong))
    said(endpoints, "EngineArgumentsRefused", "spec.model.engineArgs: vLLM refuses them", "9000000", seconds=240)
    endpoints.patch({"model": {"engineArgs": {"maxModelLen": 512}}})
    endpoints.wait_condition("Ready", "True", seconds=240)
