"""The chart on an API server: installed, upgraded and removed by the real helm. No pod runs, nothing waits for one."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts" / "tidemill"
HELM = ROOT / ".tidemill" / "bin" / "helm"


@pytest.fixture
def helm(cluster: Any, namespace: str, tmp_path: Path) -> Callable[..., str]:
    assert HELM.exists(), f"{HELM} is missing: run ./hack/setup.sh"

    def run(*arguments: str) -> str:
        environment = {"KUBECONFIG": str(cluster.kubeconfig), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
        command = [str(HELM), *arguments, "--namespace", namespace]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_the_chart_installs_upgrades_and_goes(helm: Callable[..., str], kubectl: Any, namespace: str) -> None:
    notes = helm("install", "tide", str(CHART), "--set", f"fullnameOverride={namespace},crds.install=false")
    assert f"helm test tide --namespace {namespace}" in notes
    assert "KubeRay is missing" not in notes, "RayCluster is installed on this API server"
    deployment = kubectl.json("get", "deployment", namespace, "-n", namespace)
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "tidemill-operator:0.1.0"
    assert kubectl.json("get", "clusterrolebinding", namespace)["subjects"][0]["namespace"] == namespace

    watched = f"watchNamespaces={{{namespace}}}"
    helm("upgrade", "tide", str(CHART), "--set", f"fullnameOverride={namespace},crds.install=false", "--set", watched)
    assert kubectl.json("get", "role", namespace, "-n", namespace)["rules"]
    assert len(kubectl.json("get", "clusterrole", namespace)["rules"]) == 2

    helm("uninstall", "tide")
    left = kubectl("get", "deployment,role,rolebinding,serviceaccount", "-n", namespace, "-o", "name").split()
    assert [name for name in left if name.endswith(f"/{namespace}")] == []
    assert kubectl("get", "crd", "batchinferencejobs.tidemill.dev", "-o", "name"), "jobs outlive the release"
