"""The whole dev cluster through its own command line: up, killed, up again, down without a trace."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from cluster_fixtures import Kubectl

from devcluster.processes import Processes

pytestmark = pytest.mark.cluster

COMMAND = Path(__file__).parents[3] / "hack" / "devcluster.sh"
NODE = "name=only,cpu=3,memory=5Gi,nvidia.com/gpu=2"
SLEEPER = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "sleeper", "namespace": "default"},
    "spec": {
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "main", "image": "any", "command": ["sleep", "1000"]}],
    },
}


@pytest.fixture
def command(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("the dev cluster makes network namespaces, which needs root")
    state = tmp_path / "state"

    def run(*words):
        return subprocess.run(
            [str(COMMAND), *words, "--state", str(state)], capture_output=True, text=True, check=False, timeout=120
        )

    yield run
    done = run("down", "--purge")
    assert done.returncode == 0, done.stderr


def wait_until(check, seconds=30):
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.1)


def started(kubectl):
    kubectl("create", "-f", "-", given=SLEEPER)
    kubectl("wait", "--for=condition=Ready", "pod/sleeper", "--timeout=30s")


def trails(state):
    """What of a cluster is left on this machine: processes that know its folder, and mounts below it."""
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(state) in line]
    processes = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                words = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
            except OSError:
                continue  # it ended meanwhile
            if str(state).encode() in words:
                processes.append(words)
    return mounts, processes


def test_a_cluster_is_brought_up_looked_at_and_taken_down_without_a_trace(command, tmp_path):
    done = command("up", "--node", NODE)
    assert done.returncode == 0, done.stderr
    assert "export KUBECONFIG=" in done.stdout
    began = time.monotonic()
    again = command("up", "--node", NODE)
    assert time.monotonic() - began < 2
    assert again.stdout.startswith("The cluster is ready")
    kubectl = Kubectl(tmp_path / "state" / "kubeconfig")
    (node,) = kubectl.json("get", "nodes")["items"]
    assert node["status"]["allocatable"].items() >= {"cpu": "3", "memory": "5Gi", "nvidia.com/gpu": "2"}.items()
    started(kubectl)
    kubectl("create", "service", "clusterip", "web", "--tcp=80")
    address = kubectl.json("get", "service", "web", "-n", "default")["spec"]["clusterIP"]
    shown = command("status")
    assert shown.returncode == 0
    assert ["default", "web", address, "80"] in [line.split() for line in shown.stdout.splitlines()]
    assert "nvidia.com/gpu 2" in shown.stdout
    assert "sleeper" in shown.stdout
    command("down")
    assert trails(tmp_path / "state") == ([], [])
    assert command("status").returncode == 1


def test_each_killed_program_is_reported_and_started_again(command, tmp_path):
    """One after the other on one cluster: a start of it costs seconds."""
    assert command("up", "--node", NODE).returncode == 0
    kubectl = Kubectl(tmp_path / "state" / "kubeconfig")
    started(kubectl)
    for name in ("apiserver", "kuberay", "kubelet", "services"):
        os.kill(Processes(tmp_path / "state").running(name).pid, signal.SIGKILL)
        wait_until(lambda name=name: Processes(tmp_path / "state").running(name) is None)
        shown = command("status")
        assert shown.returncode == 1, name
        assert [line.split()[:2] for line in shown.stdout.splitlines() if line.startswith(name)] == [[name, "down"]]
        done = command("up", "--node", NODE)
        assert done.returncode == 0, done.stderr
        assert f"restarted {name}" in done.stdout
        kubectl("wait", "--for=condition=Ready", "pod/sleeper", "--timeout=30s")
        assert command("status").returncode == 0, name


def test_other_nodes_are_taken_over_by_a_new_kubelet(command, tmp_path):
    assert command("up", "--node", NODE).returncode == 0
    done = command("up", "--node", NODE.replace("cpu=3", "cpu=6"))
    assert "restarted kubelet" in done.stdout
    (node,) = Kubectl(tmp_path / "state" / "kubeconfig").json("get", "nodes")["items"]
    assert node["status"]["allocatable"]["cpu"] == "6"


def test_a_node_that_makes_no_sense_is_told_with_the_reason(command):
    done = command("up", "--node", "name=bad,cpu=many")
    assert done.returncode == 1
    assert "many" in done.stderr
    assert "Traceback" not in done.stderr
