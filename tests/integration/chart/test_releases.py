"""The life of a release on an API server that starts empty: CRDs above all. No pod runs, nothing waits for one."""

import json
import subprocess
import time

import pytest
from helm_releases import Helm, changed_chart
from rendered_chart import CHART, ROOT

pytestmark = pytest.mark.usefixtures("bare")

CRDS = ["batchinferencejobs.tidemill.dev", "realtimeendpoints.tidemill.dev"]
CLASSES = ["tide-tidemill-batch", "tide-tidemill-realtime"]


@pytest.fixture
def helm(bare, tmp_path):
    return Helm(bare.kubeconfig, tmp_path, "tidemill")


def job(**spec):
    model = {"name": "m", "source": "/in/models/m"}
    whole = {"model": model, "input": {"uri": "/in/a.jsonl"}, "output": {"uri": "/in/out/"}, "completionWindow": "4h"}
    template = {
        "volumes": [{"name": "in", "persistentVolumeClaim": {"claimName": "in"}}],
        "volumeMounts": [{"name": "in", "mountPath": "/in"}],
    }
    return {
        "apiVersion": "tidemill.dev/v1alpha1",
        "kind": "BatchInferenceJob",
        "metadata": {"name": "tickets", "namespace": "default"},
        "spec": {**whole, "resources": {"cpu": "1", "memory": "1Gi"}, "template": template, **spec},
    }


def without_target_completion(crd):
    """What an older chart did not know yet."""
    (version,) = crd["spec"]["versions"]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"].pop("targetCompletion", None)
    rules = spec.get("x-kubernetes-validations", [])
    spec["x-kubernetes-validations"] = [rule for rule in rules if "targetCompletion" not in rule["rule"]]


def wait_for_crds(kubectl):
    kubectl("wait", "--for=condition=Established", *[f"crd/{name}" for name in CRDS], "--timeout=20s")


def test_an_upgrade_brings_the_crds_up_to_date_and_objects_stay(helm, kubectl, tmp_path):
    older = changed_chart(tmp_path, "0.0.9", without_target_completion)
    helm("install", "tide", str(older))
    wait_for_crds(kubectl)
    kubectl("create", "-f", "-", given=job())
    refused = kubectl.run("patch", "bij/tickets", "--type=merge", "-p", '{"spec": {"targetCompletion": "2h"}}')
    assert "targetCompletion" in refused.stderr

    helm("upgrade", "tide", str(CHART))
    kubectl("patch", "bij/tickets", "--type=merge", "-p", '{"spec": {"targetCompletion": "2h"}}')
    assert kubectl.json("get", "bij/tickets")["spec"]["targetCompletion"] == "2h"
    assert kubectl.json("get", "crd", CRDS[0])["metadata"]["labels"]["helm.sh/chart"] == "tidemill-0.1.0"

    helm("rollback", "tide", "1")
    assert kubectl.json("get", "crd", CRDS[0])["metadata"]["labels"]["helm.sh/chart"] == "tidemill-0.0.9"
    assert kubectl("get", "bij/tickets", "-o", "name")


def test_uninstalling_keeps_jobs_and_the_same_release_takes_them_up_again(helm, kubectl):
    helm("install", "tide", str(CHART))
    wait_for_crds(kubectl)
    kubectl("create", "-f", "-", given=job())
    said = helm("uninstall", "tide")
    assert all(name in said for name in CRDS), "helm names what it keeps"
    assert kubectl("get", "bij/tickets", "-o", "name")
    helm("install", "tide", str(CHART))
    assert kubectl("get", "bij/tickets", "-o", "name")


def test_after_an_uninstall_crds_and_classes_are_left_and_deleting_a_job_does_not_hang(helm, kubectl, all_objects):
    before = all_objects()
    values = {
        "watchNamespaces": ["default", "tidemill"],
        "settings": {"metricsPort": 8080, "alertsPort": 9095},
        "alertWebhook": {"credentialsSecret": "alerts"},
        "monitoring": {"dashboards": True},
    }
    helm("install", "tide", str(CHART), values=values)
    wait_for_crds(kubectl)
    made = {name.split("/")[0] for name in all_objects() - before}
    assert made >= {
        "Deployment",
        "Lease",
        "Service",
        "PriorityClass",
        "ClusterRole",
        "NetworkPolicy",
        "ConfigMap",
        "Role",
    }
    kubectl("create", "-f", "-", given=job())
    helm("uninstall", "tide")
    left = {f"CustomResourceDefinition//{name}" for name in CRDS} | {"BatchInferenceJob/default/tickets"}
    assert_soon(lambda: all_objects() - before, left | {f"PriorityClass//{name}" for name in CLASSES})
    kubectl("delete", "priorityclass", *CLASSES)
    kubectl("delete", "bij/tickets", "--timeout=5s", timeout=10)
    kubectl("delete", "crd", *CRDS, "--timeout=20s", timeout=30)
    assert_soon(lambda: all_objects() - before, set())


def test_pods_of_standing_clusters_find_their_class_when_the_chart_makes_none_any_more(helm, kubectl):
    helm("install", "tide", str(CHART))
    helm("upgrade", "tide", str(CHART), values={"priorityClasses": {"create": False}})
    assert len(kubectl("get", "priorityclass", *CLASSES, "-o", "name").split()) == 2
    helm("uninstall", "tide")
    assert len(kubectl("get", "priorityclass", *CLASSES, "-o", "name").split()) == 2
    helm("install", "tide", str(CHART))
    assert len(kubectl("get", "priorityclass", *CLASSES, "-o", "name").split()) == 2


def assert_soon(look, wanted, seconds=10):
    deadline = time.monotonic() + seconds
    while (found := look()) != wanted and time.monotonic() < deadline:
        time.sleep(0.2)
    assert found == wanted


def test_with_keep_false_the_crds_and_every_job_go_with_the_release(helm, kubectl):
    notes = helm("install", "tide", str(CHART), values={"crds": {"keep": False}})
    assert "`helm uninstall` will delete every job and endpoint" in notes
    wait_for_crds(kubectl)
    kubectl("create", "-f", "-", given=job())
    helm("uninstall", "tide")
    kubectl("wait", "--for=delete", *[f"crd/{name}" for name in CRDS], "--timeout=20s", timeout=30)
    assert "tidemill.dev/v1alpha1" not in kubectl("api-versions")


def test_what_keep_says_counts_at_the_uninstall(helm, kubectl):
    helm("install", "tide", str(CHART))
    helm("upgrade", "tide", str(CHART), values={"crds": {"keep": False}})
    helm("uninstall", "tide")
    kubectl("wait", "--for=delete", *[f"crd/{name}" for name in CRDS], "--timeout=20s", timeout=30)


def test_crds_that_kubectl_applied_are_refused_and_taken_over_when_told(helm, kubectl):
    kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
    wait_for_crds(kubectl)
    kubectl("create", "-f", "-", given=job())
    refused = helm.run("install", "tide", str(CHART))
    assert refused.returncode != 0
    assert "invalid ownership metadata" in refused.stderr
    taken = helm.run("install", "tide", str(CHART), "--take-ownership")
    assert taken.returncode == 0, taken.stderr
    labels = kubectl.json("get", "crd", CRDS[0])["metadata"]["labels"]
    assert labels["app.kubernetes.io/managed-by"] == "Helm"
    helm("upgrade", "tide", str(CHART))
    assert kubectl("get", "bij/tickets", "-o", "name")


def test_a_second_release_is_refused_by_helm(helm, kubectl, bare, tmp_path):
    helm("install", "tide", str(CHART))
    kubectl("create", "namespace", "other")
    second = Helm(bare.kubeconfig, tmp_path, "other").run("install", "tide", str(CHART))
    assert second.returncode != 0
    assert 'must equal "other"' in second.stderr


def test_two_releases_of_different_names_share_the_crds_of_one(helm, kubectl, bare, tmp_path):
    kubectl("create", "namespace", "other")
    helm("install", "tide", str(CHART), values={"watchNamespaces": ["tidemill"]})
    second = Helm(bare.kubeconfig, tmp_path, "other")
    second("install", "ebb", str(CHART), values={"watchNamespaces": ["other"], "crds": {"install": False}})
    helm("uninstall", "tide")
    assert kubectl("get", "deployment/ebb-tidemill", "-n", "other", "-o", "name")
    assert len(kubectl("get", "crd", *CRDS, "-o", "name").split()) == 2


def test_without_crds_install_helm_touches_none(helm, kubectl):
    helm("install", "tide", str(CHART), values={"crds": {"install": False}})
    assert not kubectl("get", "crd", "-o", "name")


@pytest.mark.parametrize("way", ["true", "false"])
def test_an_upgrade_and_a_rollback_leave_the_lease_to_who_holds_it(helm, kubectl, tmp_path, way):
    helm("install", "tide", str(CHART), f"--server-side={way}")
    lease = kubectl.json("get", "lease/tide-tidemill", "-n", "tidemill")
    held = {
        "holderIdentity": "tide-tidemill-0_x",
        "leaseDurationSeconds": 10,
        "renewTime": "2026-01-01T00:00:00.000000Z",
    }
    kubectl("replace", "-f", "-", "--field-manager=tidemill-operator", given={**lease, "spec": held})
    newer = changed_chart(tmp_path, "0.2.0", lambda crd: None)
    helm("upgrade", "tide", str(newer), f"--server-side={way}")
    after = kubectl.json("get", "lease/tide-tidemill", "-n", "tidemill")
    assert after["metadata"]["labels"]["helm.sh/chart"] == "tidemill-0.2.0"
    assert after["spec"] == held
    helm("rollback", "tide", "1", f"--server-side={way}")
    assert kubectl.json("get", "lease/tide-tidemill", "-n", "tidemill")["spec"] == held


def told_by_the_demo(bare, home):
    """What hack/kind.sh's demo tells the chart about CRDs on this cluster."""
    script = (ROOT / "hack" / "kind.sh").read_text()
    function = script[script.index("crds_of_demo() {") :].partition("\n}\n")[0] + "\n}\n"
    environment = {"KUBECONFIG": str(bare.kubeconfig), "PATH": f"{ROOT}/.tidemill/bin:/usr/bin:/bin", "HOME": home}
    words = ["bash", "-euc", f"{function}crds_of_demo"]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=True, timeout=30).stdout


def test_the_demo_of_kind_takes_its_own_crds_up_again_and_leaves_others_alone(kubectl, bare, tmp_path):
    assert told_by_the_demo(bare, tmp_path) == "crds.keep=false", "there are none"
    kubectl("create", "namespace", "tidemill-system")
    demo = Helm(bare.kubeconfig, tmp_path, "tidemill-system")
    demo("install", "tidemill", str(CHART), values={"crds": {"keep": False}})
    assert told_by_the_demo(bare, tmp_path) == "crds.keep=false", (
        "a demo that failed left them; crds.install=false deletes them"
    )
    demo("uninstall", "tidemill")
    kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
    assert told_by_the_demo(bare, tmp_path) == "crds.install=false"


def test_an_upgrade_brings_back_a_deployment_that_was_deleted_before_it(helm, kubectl):
    """As the README wants it of who comes from an operator without a Lease; scaled to 0, helm 4 would refuse."""
    helm("install", "tide", str(CHART))
    kubectl("delete", "deployment", "tide-tidemill", "-n", "tidemill", "--cascade=foreground", "--timeout=20s")
    helm("upgrade", "tide", str(CHART))
    assert kubectl.json("get", "deployment", "tide-tidemill", "-n", "tidemill")["spec"]["replicas"] == 2


def test_a_missing_kuberay_is_said_in_one_sentence(helm, kubectl):
    notes = helm("install", "tide", str(CHART))
    (said,) = [line for line in notes.splitlines() if "KubeRay" in line]
    assert said.startswith("KubeRay is missing: this cluster does not know the kind RayCluster (ray.io/v1)")


def test_the_release_fits_into_its_secret_with_room_to_spare(helm, kubectl):
    helm("install", "tide", str(CHART), values={"monitoring": {"dashboards": True}})
    (stored,) = [
        s for s in kubectl.json("get", "secrets", "-n", "tidemill")["items"] if s["type"].startswith("helm.sh/")
    ]
    assert len(json.dumps(stored["data"])) < 512 * 1024, "Kubernetes takes 1 MiB at most"
