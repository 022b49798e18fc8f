"""The chart beside KubeRay's CRD, on the API server that tests share: its CRDs are left alone, others use them."""

import pytest
from helm_releases import Helm
from rendered_chart import CHART


@pytest.fixture
def helm(cluster, namespace, tmp_path):
    return Helm(cluster.kubeconfig, tmp_path, namespace)


def test_the_chart_installs_upgrades_and_goes(helm, kubectl, namespace):
    values = {"fullnameOverride": namespace, "crds": {"install": False}}
    notes = helm("install", "tide", str(CHART), values=values)
    assert f"helm test tide --namespace {namespace} --logs" in notes
    assert "KubeRay is missing" not in notes, "RayCluster is installed on this API server"
    deployment = kubectl.json("get", "deployment", namespace, "-n", namespace)
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "tidemill-operator:0.1.0"
    assert kubectl.json("get", "clusterrolebinding", namespace)["subjects"][0]["namespace"] == namespace

    helm("upgrade", "tide", str(CHART), values={**values, "watchNamespaces": [namespace]})
    assert kubectl.json("get", "role", namespace, "-n", namespace)["rules"]
    assert len(kubectl.json("get", "clusterrole", namespace)["rules"]) == 2

    helm("uninstall", "tide")
    kinds = "deployment,role,rolebinding,serviceaccount,lease,networkpolicy,poddisruptionbudget"
    left = kubectl("get", kinds, "-n", namespace, "-o", "name").split()
    assert [name for name in left if f"/{namespace}" in name] == []
    everywhere = kubectl("get", "clusterrole,clusterrolebinding,priorityclass", "-o", "name").split()
    classes = [f"{namespace}-batch", f"{namespace}-realtime"]  # which clusters that stand name for life
    assert [name.rpartition("/")[2] for name in everywhere if f"/{namespace}" in name] == classes
    kubectl("delete", "priorityclass", *classes)


def test_the_notes_say_the_next_three_commands(helm, namespace):
    notes = helm("install", "tide", str(CHART), values={"fullnameOverride": namespace, "crds": {"install": False}})
    helm("uninstall", "tide")
    _, _, following = notes.partition("Next:\n")
    assert [line.split()[0] for line in following.splitlines() if line.strip()] == ["helm", "kubectl", "kubectl"]
