"""Scheduling, the network, claims, and a kubelet that is killed."""

import asyncio
import os
import signal

import pytest
from kubelet_team import (
    KubeletProcess,
    Team,
    alive,
    eventually,
    main,
    phase,
    ready,
    traces,
    unschedulable,
    until_no_file,
)

from devcluster.client import PERSISTENT_VOLUME_CLAIMS, PODS, Client
from devcluster.supervisor import Settings, Supervisor

pytestmark = pytest.mark.cluster

GPU = "nvidia.com/gpu"


async def test_a_pod_waits_for_gpus_and_is_placed_when_there_is_room(team):
    gpus = {"resources": {"limits": {GPU: "2"}}}
    await team.run("first", "sleep", "1000", container=gpus)
    await team.until("first", ready)
    await team.run("second", "sleep", "1000", container=gpus)
    status = await team.until("second", unschedulable)
    expected = "0/2 nodes are available: 1 Insufficient nvidia.com/gpu, "
    assert unschedulable(status) == expected + "1 node(s) had untolerated taint {only: b}."
    assert status["phase"] == "Pending"
    assert await team.until_event("second", "FailedScheduling") == unschedulable(status)
    await team.delete("first")
    await team.until("second", ready)
    assert (await team.get("second"))["spec"]["nodeName"] == "node-a"


async def test_a_pod_that_was_never_placed_can_be_deleted(team):
    await team.run("huge", "true", container={"resources": {"requests": {"cpu": "1000"}}})
    await team.until("huge", unschedulable)
    await team.delete("huge")
    await team.until_gone("huge")


async def test_tolerations_and_selectors_choose_the_node(team):
    await team.run(
        "b",
        "true",
        tolerations=[{"key": "only", "operator": "Exists"}],
        nodeSelector={"kubernetes.io/hostname": "node-b"},
    )
    await team.until("b", lambda status: status.get("podIP"))
    assert (await team.get("b"))["spec"]["nodeName"] == "node-b"


CONNECT = """
import socket, time
began = time.monotonic()
refused = socket.socket().connect_ex(("192.0.2.200", 80)) != 0
print(refused, time.monotonic() - began < 3)
"""


async def test_an_address_outside_is_refused_within_seconds(team):
    await team.run("web", "python", "-c", CONNECT, restartPolicy="Never")
    await team.until("web", phase("Succeeded"))
    assert await team.log("web") == "True True\n"


async def test_a_claim_is_a_folder_that_outlives_pods_and_goes_with_the_claim(team):
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    data = {
        "container": {"volumeMounts": [{"name": "data", "mountPath": "/data/in"}]},
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        "restartPolicy": "Never",
    }
    await team.run("writer", "sh", "-c", "echo kept > /data/in/x", **data)
    assert 'persistentvolumeclaim "data" not found' in await team.until_event("writer", "FailedMount")
    await team.create(PERSISTENT_VOLUME_CLAIMS, "PersistentVolumeClaim", "data", spec=spec)
    await team.until("writer", phase("Succeeded"))
    await team.run("reader", "cat", "/data/in/x", **data)
    await team.until("reader", phase("Succeeded"))
    assert await team.log("reader") == "kept\n"
    claim = await team.client.get(PERSISTENT_VOLUME_CLAIMS, team.namespace, "data")
    assert (claim["status"]["phase"], claim["status"]["capacity"]) == ("Bound", {"storage": "1Gi"})
    folder = team.kubelet.state / "volumes" / team.namespace / "data"
    assert (folder / "x").read_text() == "kept\n"
    await team.client.delete(PERSISTENT_VOLUME_CLAIMS, team.namespace, "data")
    await until_no_file(folder)


async def test_a_killed_kubelet_takes_its_pods_up_again(team):
    names = ("stays", "ends", "forgotten", "asked")
    await team.run("stays", "sleep", "1000")
    await team.run("ends", "sleep", "1000", restartPolicy="Never")
    await team.run("forgotten", "sleep", "1000")
    await team.run("asked", "sleep", "1000", terminationGracePeriodSeconds=2)
    for name in names:
        await team.until(name, ready)
    forgotten = (await team.get("forgotten"))["metadata"]["uid"]
    before = {name: await team.process(name) for name in names}
    addresses = {name: (await team.get(name))["status"]["podIP"] for name in names}
    team.kubelet.kill(signal.SIGKILL)
    try:
        os.kill(before["ends"]["pid"], signal.SIGKILL)
        await team.delete("forgotten", grace_seconds=0)
        await team.delete("asked")
        assert alive(before["stays"])
    finally:
        team.kubelet.start()
    status = await team.until("ends", phase("Failed"))
    assert main(status)["state"]["terminated"]["exitCode"] == 137
    await team.until_gone("asked")
    status = await team.until("stays", ready)
    assert main(status)["restartCount"] == 0
    assert status["podIP"] == addresses["stays"]
    assert await team.process("stays") == before["stays"]
    await until_no_file(team.kubelet.state / "pods" / forgotten)
    assert not alive(before["forgotten"])


async def test_a_kubelet_and_its_pods_outlive_the_api_server(kubelet, tmp_path):
    supervisor = Supervisor(Settings(tmp_path, tmp_path / "kubeconfig"))
    other = KubeletProcess(tmp_path / "kubeconfig", tmp_path / "state")
    try:
        await asyncio.to_thread(supervisor.up_api_server)
        other.start()
        async with Client.from_kubeconfig(tmp_path / "kubeconfig") as client:
            theirs = Team(client, "default", other)
            await theirs.run("web", "sleep", "1000")
            before = await theirs.until("web", ready)
            process = await theirs.process("web")
            await asyncio.to_thread(supervisor.down)
            os.kill(process["pid"], signal.SIGKILL)
            await asyncio.sleep(1)
            assert not alive(process)
            await asyncio.to_thread(supervisor.up_api_server)
            after = await theirs.until("web", lambda status: main(status).get("restartCount") == 1 and ready(status))
            assert after["podIP"] == before["podIP"]
            await theirs.delete("web")
            await theirs.until_gone("web")
    finally:
        other.kill()
        other.clean_up()
        await asyncio.to_thread(supervisor.down)


async def test_a_node_that_is_deleted_takes_its_pods_with_it(team):
    await team.run("lost", "sleep", "1000", nodeName="node-nowhere")
    await team.until_gone("lost")


async def test_two_clusters_live_on_one_machine_and_each_leaves_nothing(team, tmp_path):
    await team.run("mine", "sleep", "1000")
    mine = await team.until("mine", ready)
    supervisor = Supervisor(Settings(tmp_path, tmp_path / "kubeconfig"))
    other = KubeletProcess(tmp_path / "kubeconfig", tmp_path / "state")
    try:
        await asyncio.to_thread(supervisor.up_api_server)
        other.start()
        async with Client.from_kubeconfig(tmp_path / "kubeconfig") as client:
            body = {"metadata": {"name": "theirs"}, "spec": {"containers": [{"name": "main", "image": "any"}]}}
            body["spec"]["containers"][0]["command"] = ["sleep", "1000"]
            await client.create(PODS, "default", {"apiVersion": "v1", "kind": "Pod", **body})

            async def runs():
                return (await client.get(PODS, "default", "theirs")).get("status", {}).get("phase") == "Running"

            await eventually(runs, 20)
            theirs = (await client.get(PODS, "default", "theirs"))["status"]
        assert mine["podIP"].rpartition(".")[0] != theirs["podIP"].rpartition(".")[0]
        other.kill(signal.SIGKILL)
        assert traces(other.state)["launchers"]
        other.clean_up()
        assert traces(other.state) == {"mounts": [], "launchers": [], "links": []}
        assert ready((await team.get("mine"))["status"])
    finally:
        await asyncio.to_thread(supervisor.down)
