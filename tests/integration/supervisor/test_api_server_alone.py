"""The supervisor with the API server alone: starting, starting again, dying, and what is loaded."""

import os
import signal
import time

import pytest
from unit.kuberay.builders import cluster

from devcluster import definitions, loading
from devcluster.client import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, RAY_CLUSTERS, ApiError, Client
from devcluster.kuberay.definition import own_definition, ray_cluster_definition
from devcluster.supervisor import API_SERVER, Settings, Supervisor


@pytest.fixture
def served(tmp_path):
    """A supervisor whose API server runs, and the lines it said so far."""
    lines = []
    supervisor = Supervisor(Settings(tmp_path / "state", tmp_path / "kubeconfig"), lines.append)
    supervisor.up_api_server()
    yield supervisor, lines
    supervisor.down()


def namespace(name):
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


async def test_every_definition_is_served_and_a_second_start_does_nothing(served):
    supervisor, lines = served
    async with Client.from_kubeconfig(supervisor.settings.kubeconfig) as client:
        found, _ = await client.list(CUSTOM_RESOURCE_DEFINITIONS)
    assert {entry["metadata"]["name"] for entry in found} == {
        entry["metadata"]["name"] for entry in definitions.wanted()
    }
    lines.clear()
    began = time.monotonic()
    Supervisor(supervisor.settings, lines.append).up_api_server()
    assert lines == []
    assert time.monotonic() - began < 0.5


async def test_a_killed_server_comes_back_on_its_port_with_every_object(served):
    supervisor, lines = served
    kubeconfig = supervisor.settings.kubeconfig
    before = kubeconfig.read_text()
    async with Client.from_kubeconfig(kubeconfig) as client:
        await client.create(NAMESPACES, None, namespace("kept"))
        os.kill(supervisor.alive()[API_SERVER].pid, signal.SIGKILL)
        lines.clear()
        supervisor.up_api_server()
        assert (await client.get(NAMESPACES, None, "kept"))["metadata"]["name"] == "kept"
    assert kubeconfig.read_text() == before
    assert [line.split(" (")[0] for line in lines] == ["restarted apiserver"]


def test_down_keeps_the_objects_and_purge_removes_them(served):
    supervisor, _ = served
    supervisor.down()
    assert supervisor.alive() == dict.fromkeys(("apiserver", "kuberay", "kubelet", "services"))
    assert supervisor.settings.state.exists()
    supervisor.down(purge=True)
    assert not supervisor.settings.state.exists()
    assert not supervisor.settings.kubeconfig.exists()


@pytest.mark.parametrize("definition", [own_definition(), ray_cluster_definition()], ids=["own", "at hand"])
async def test_either_definition_of_raycluster_defaults_and_refuses_alike(served, definition):
    supervisor, _ = served
    await loading.load(supervisor.settings.kubeconfig, [definition])
    minimal = cluster()
    minimal["metadata"] = {"name": "demo", "namespace": "default"}
    del minimal["status"]
    group = minimal["spec"]["workerGroupSpecs"][0]
    for field in ("replicas", "minReplicas", "maxReplicas", "numOfHosts"):
        del group[field]
    async with Client.from_kubeconfig(supervisor.settings.kubeconfig) as client:
        stored = await client.create(RAY_CLUSTERS, "default", minimal)
        found = stored["spec"]["workerGroupSpecs"][0]
        assert (found["replicas"], found["minReplicas"], found["maxReplicas"]) == (0, 0, 2**31 - 1)
        assert found["numOfHosts"] == 1
        for broken, words in (
            ({**minimal["spec"], "headGroupSpec": {}}, "spec.headGroupSpec.template: Required value"),
            ({**minimal["spec"], "authOptions": {"mode": "basic"}}, "spec.authOptions.mode: Unsupported value"),
            ({**minimal["spec"], "managedBy": "me"}, "the managedBy field value must be either"),
            ({**minimal["spec"], "suspend": "yes"}, "spec.suspend"),
        ):
            body = {**minimal, "metadata": {"name": "broken", "namespace": "default"}, "spec": broken}
            with pytest.raises(ApiError, match=words) as refused:
                await client.create(RAY_CLUSTERS, "default", body)
            assert refused.value.status == 422
