"""What a container is given, how it is probed, restarted and stopped."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from cluster_fixtures import CHECKOUT
from kubelet_team import alive, main, phase, ready, there, until_no_file, waits_for

from devcluster.client import CONFIG_MAPS, SECRETS

pytestmark = pytest.mark.cluster

ABSENT = "/tidemill-absent"
"""A folder that no machine has at its root."""


async def test_a_container_has_namespaces_of_its_own(team):
    script = """
        echo pid=$$$$ host=$(hostname) processes=$(ls -d /proc/[0-9]* | wc -l)
        echo links=$(ls /sys/class/net 2>/dev/null | wc -l) tmp=$(ls /tmp) cwd=$PWD
        ls /dev/shm | wc -l; cat /etc/hostname; echo mine > /tmp/mine; echo mine > /dev/shm/mine
        touch """ + str(CHECKOUT / "touched-by-a-pod") + """ || echo the checkout is read-only
        umount /proc || echo no mounting
    """  # fmt: skip
    await team.run("web", "sh", "-c", script, restartPolicy="Never")
    status = await team.until("web", phase("Succeeded"))
    log = await team.log("web")
    assert "pid=1 host=web " in log
    assert "links=2 " in log
    # Nothing of the host's /tmp but the way to a checkout that lies there.
    shown = {"home"} | ({CHECKOUT.parts[2]} if CHECKOUT.is_relative_to("/tmp") else set())
    assert f"tmp={' '.join(sorted(shown))} cwd=/tmp/home" in log
    assert "the checkout is read-only" in log
    assert "no mounting" in log
    assert not there(CHECKOUT / "touched-by-a-pod")
    assert not there("/dev/shm/mine")
    assert status["podIP"].startswith("10.77.")


async def test_the_environment_starts_clean(team):
    env = [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)2"}]
    await team.run("web", "env", container={"env": env}, restartPolicy="Never")
    await team.until("web", phase("Succeeded"))
    variables = dict(line.split("=", 1) for line in (await team.log("web")).splitlines())
    assert variables.pop("PATH").startswith(f"{Path(sys.executable).parent}:")
    assert variables == {
        "A": "1",
        "B": "12",
        "HOME": "/tmp/home",
        "HOSTNAME": "web",
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
    }


async def test_a_mount_path_that_the_host_lacks_is_there_in_the_pod_only(team):
    mounts = [
        {"name": "data", "mountPath": f"{ABSENT}/deep"},
        {"name": "data", "mountPath": "/etc/tidemill-absent"},
        {"name": "data", "mountPath": f"{CHECKOUT}/hack/absent", "readOnly": True},
    ]
    script = f"echo hello > {ABSENT}/deep/x; cat /etc/tidemill-absent/x; touch {CHECKOUT}/hack/absent/y || echo no"
    await team.run(
        "web",
        "sh",
        "-c",
        f"{script}; test -e /etc/passwd && test -e {CHECKOUT}/hack/devcluster && echo the rest is there",
        container={"volumeMounts": mounts},
        volumes=[{"name": "data", "emptyDir": {}}],
        restartPolicy="Never",
    )
    await team.until("web", phase("Succeeded"))
    lines = (await team.log("web")).splitlines()
    assert lines[0] == "hello"
    assert lines[-2:] == ["no", "the rest is there"]
    assert [path for path in (ABSENT, "/etc/tidemill-absent", f"{CHECKOUT}/hack/absent") if there(path)] == []


async def test_init_containers_run_first_and_in_order(team):
    mount = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}
    first = [
        {"name": name, "image": "any", "command": ["sh", "-c", f"echo {name} >> /shared/log"], **mount}
        for name in ("one", "two")
    ]
    volumes = [{"name": "shared", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]
    command = ("sh", "-c", "cat /shared/log; dd if=/dev/zero of=/shared/big bs=1k count=2000 2>&1 | grep -o 'No space'")
    await team.run("web", *command, container=mount, initContainers=first, volumes=volumes, restartPolicy="Never")
    status = await team.until("web", phase("Succeeded"))
    assert await team.log("web") == "one\ntwo\nNo space\n"
    assert [one["ready"] for one in status["initContainerStatuses"]] == [True, True]


async def test_an_init_container_that_fails_for_good_fails_the_pod(team):
    first = [{"name": "first", "image": "any", "command": ["false"]}]
    await team.run("web", "true", initContainers=first, restartPolicy="Never")
    status = await team.until("web", phase("Failed"))
    assert status["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 1


async def test_a_sidecar_runs_beside_and_is_stopped_at_the_end(team):
    side = {"name": "side", "image": "any", "command": ["sleep", "1000"], "restartPolicy": "Always"}
    await team.run("web", "true", initContainers=[side], restartPolicy="Never")
    status = await team.until("web", phase("Succeeded"))
    assert status["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 137


async def test_a_missing_secret_is_waited_for_and_heals(team):
    env = [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "token", "key": "value"}}}]
    await team.run("web", "sh", "-c", "echo $TOKEN", container={"env": env}, restartPolicy="Never")
    await team.until("web", waits_for("CreateContainerConfigError"))
    assert await team.until_event("web", "Failed") == 'secret "token" not found'
    await team.create(SECRETS, "Secret", "token", stringData={"value": "s3cret"})
    began = time.monotonic()
    await team.until("web", phase("Succeeded"))
    assert time.monotonic() - began < 5
    assert await team.log("web") == "s3cret\n"


async def test_a_changed_config_map_is_seen_by_a_running_container(team):
    await team.create(CONFIG_MAPS, "ConfigMap", "settings", data={"a": "old"})
    await team.run(
        "web",
        "sh",
        "-c",
        "until grep new /settings/a; do sleep 0.1; done; ls /settings",
        container={"volumeMounts": [{"name": "settings", "mountPath": "/settings"}]},
        volumes=[{"name": "settings", "configMap": {"name": "settings"}}],
        restartPolicy="Never",
    )
    await team.until("web", phase("Running"))
    await team.client.patch(CONFIG_MAPS, team.namespace, "settings", {"data": {"a": "new", "b": "more"}})
    await team.until("web", phase("Succeeded"))
    assert await team.log("web") == "new\na\nb\n"


async def test_a_command_that_does_not_exist_is_said_plainly(team):
    await team.run("web", "no-such-command", restartPolicy="Never")
    status = await team.until("web", phase("Failed"))
    ended = main(status)["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (128, "StartError")
    assert ended["message"] == "exec: 'no-such-command': executable file not found in $PATH"


async def test_a_crashing_container_restarts_in_place_with_back_off(team):
    """Its last words are in the status, since its policy wishes so."""
    policy = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    await team.run("web", "sh", "-c", "echo attempt; exit 3", container=policy)
    first = await team.until("web", lambda status: main(status).get("restartCount", 0) >= 1)
    status = await team.until("web", lambda status: waits_for("CrashLoopBackOff")(status) and ready(status) is False)
    last = main(status)["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"], status["phase"]) == (3, "Error", "Running")
    assert last["message"] == "attempt\n"
    assert status["podIP"] == first["podIP"]
    assert await team.log("web", part=".previous") == "attempt\n"
    assert "Back-off restarting failed container" in await team.until_event("web", "BackOff")


async def test_on_failure_ends_with_the_first_success(team):
    await team.run(
        "web",
        "sh",
        "-c",
        "test -e /shared/once || { touch /shared/once; exit 1; }",
        container={"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]},
        volumes=[{"name": "shared", "emptyDir": {}}],
        restartPolicy="OnFailure",
    )
    status = await team.until("web", phase("Succeeded"))
    assert main(status)["restartCount"] == 1


async def test_probes_decide_about_readiness_and_life(team):
    await team.run(
        "web",
        "sh",
        "-c",
        "touch /tmp/alive; exec sleep 1000",
        container={
            "startupProbe": {
                "exec": {"command": ["test", "-e", "/tmp/alive"]},
                "periodSeconds": 1,
                "timeoutSeconds": 10,
            },
            "readinessProbe": {
                "exec": {"command": ["test", "-e", "/tmp/ready"]},
                "periodSeconds": 1,
                "timeoutSeconds": 10,
            },
            "livenessProbe": {
                "exec": {"command": ["test", "-e", "/tmp/alive"]},
                "periodSeconds": 1,
                "timeoutSeconds": 10,
                "failureThreshold": 1,
            },
        },
    )
    status = await team.until("web", lambda status: main(status).get("started"))
    assert not ready(status)
    await team.until_told("web", "Readiness probe failed")  # on a busy machine the startup probe may have failed too
    sandbox = team.kubelet.state / "pods" / (await team.get("web"))["metadata"]["uid"]
    private = sandbox / "containers" / "main" / "layer" / "tmp"
    (private / "ready").touch()
    await team.until("web", ready)
    (private / "ready").unlink()
    await team.until("web", lambda status: not ready(status))
    (private / "alive").unlink()
    status = await team.until("web", lambda status: main(status)["restartCount"] == 1 and main(status)["started"])
    assert main(status)["lastState"]["terminated"]["exitCode"] == 137  # `sleep` as PID 1 does not hear SIGTERM
    assert "failed liveness probe, will be restarted" in (await team.events("web"))["Killing"]


SLOW_TO_GO = """
import pathlib, signal, sys, time
def term(*_):
    time.sleep(0.3)
    pathlib.Path("/data/said").open("a").write("term ")
    sys.exit(0)
signal.signal(signal.SIGTERM, term)
pathlib.Path("/data/up").touch()
time.sleep(1000)
"""


async def test_a_deleted_pod_may_finish_its_work(team, tmp_path):
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "printf 'hook ' >> /data/said"]}}}
    await team.run(
        "web",
        "python",
        "-c",
        SLOW_TO_GO,
        container={"volumeMounts": [{"name": "data", "mountPath": "/data"}], "lifecycle": hook},
        volumes=[{"name": "data", "hostPath": {"path": str(tmp_path)}}],
        terminationGracePeriodSeconds=20,
    )
    await team.until("web", lambda status: (tmp_path / "up").exists())
    uid = (await team.get("web"))["metadata"]["uid"]
    began = time.monotonic()
    await team.delete("web")
    await team.until_gone("web")
    assert time.monotonic() - began < 10
    assert (tmp_path / "said").read_text() == "hook term "
    assert not there(team.kubelet.state / "pods" / uid)


async def test_a_pod_that_does_not_listen_is_killed_after_its_grace(team):
    await team.run("deaf", "sleep", "1000")
    await team.until("deaf", ready)
    began = time.monotonic()
    await team.delete("deaf")
    await team.until_gone("deaf")
    assert 1 <= time.monotonic() - began < 5


async def test_a_pod_deleted_by_force_is_killed_at_once(team):
    await team.run("deaf", "sleep", "1000", terminationGracePeriodSeconds=600)
    await team.until("deaf", ready)
    uid = (await team.get("deaf"))["metadata"]["uid"]
    await team.delete("deaf", grace_seconds=0)
    await until_no_file(team.kubelet.state / "pods" / uid)


async def test_a_container_dies_with_the_process_that_watches_it_and_comes_back(team):
    await team.run("web", "sleep", "1000")
    await team.until("web", ready)
    before = await team.process("web")
    os.kill(before["parent"], signal.SIGKILL)
    status = await team.until("web", lambda status: main(status)["restartCount"] == 1 and ready(status))
    assert main(status)["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"
    assert not alive(before)


async def test_a_volume_that_holds_the_state_folder_itself_is_no_trouble(team):
    """A checkout or an input folder above the state brings a copy of the container's own root along."""
    above = team.kubelet.state.parent
    await team.run(
        "web",
        "sh",
        "-c",
        "ls /above && head -c 2 /bin/sh >/dev/null && echo started",
        container={"volumeMounts": [{"name": "above", "mountPath": "/above", "readOnly": True}]},
        volumes=[{"name": "above", "hostPath": {"path": str(above)}}],
        restartPolicy="Never",
    )
    await team.until("web", phase("Succeeded"))
    assert "started" in await team.log("web")
