"""The real helm: install, upgrade, roll back and uninstall of a small chart with a definition in it."""

import json
import os
import subprocess

import pytest
from api_server_process import CHECKOUT, thing_definition

HELM = CHECKOUT / ".tidemill" / "bin" / "helm"

CHART = "apiVersion: v2\nname: demo\nversion: 0.1.0\n"
TEMPLATE = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}, labels: {app: demo}}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: demo}}
  template:
    metadata: {labels: {app: demo}}
    spec: {containers: [{name: c, image: x, ports: [{containerPort: 80}]}]}
---
apiVersion: charted.example.com/v1
kind: Thing
metadata: {name: {{ .Release.Name }}}
spec: {text: fixed, max: {{ .Values.replicas }}}
"""


@pytest.fixture
def helm(cluster, namespace, tmp_path):
    if not HELM.exists():
        pytest.fail(f"{HELM} is missing: run ./hack/setup.sh")
    homes = {f"HELM_{name}_HOME": str(tmp_path / name) for name in ("CACHE", "CONFIG", "DATA")}
    environment = {**os.environ, **homes, "KUBECONFIG": str(cluster.kubeconfig)}

    def run(*words):
        command = [str(HELM), "--namespace", namespace, *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def chart(tmp_path):
    folder = tmp_path / "chart"
    for part in ("templates", "crds"):
        (folder / part).mkdir(parents=True)
    (folder / "Chart.yaml").write_text(CHART)
    (folder / "values.yaml").write_text("replicas: 1\n")
    (folder / "templates" / "all.yaml").write_text(TEMPLATE)
    (folder / "crds" / "things.json").write_text(json.dumps(thing_definition("charted.example.com")))
    (folder / "crds" / "things.json").rename(folder / "crds" / "things.yaml")
    return str(folder)


def test_a_release_is_installed_upgraded_rolled_back_and_uninstalled(helm, chart, kubectl, namespace):
    def replicas():
        return kubectl.json("-n", namespace, "get", "deployment", "rel")["spec"]["replicas"]

    assert "STATUS: deployed" in helm("install", "rel", chart)
    assert replicas() == 1
    assert "REVISION: 2" in helm("upgrade", "rel", chart, "--set", "replicas=3")
    assert replicas() == 3
    assert kubectl.json("-n", namespace, "get", "things.charted.example.com", "rel")["spec"]["max"] == 3
    helm("rollback", "rel", "1")
    assert replicas() == 1
    assert [release["name"] for release in json.loads(helm("list", "-o", "json"))] == ["rel"]
    helm("uninstall", "rel")
    assert kubectl("-n", namespace, "get", "deployments,things.charted.example.com") == ""
    assert json.loads(helm("list", "-o", "json")) == []
