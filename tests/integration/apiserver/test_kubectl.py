"""The real kubectl against the server: what people type, and what they read."""

import gzip
import os
import subprocess
import time

import pytest
from api_server_process import KUBERAY, thing
from cluster_fixtures import KUBECTL

# Another group may have things too: the full name is never ambiguous.
THINGS = "things.example.com"


def pod(name="p", **spec):
    containers = [{"name": "c", "image": "registry/image:1"}]
    labels = {"app": "demo"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {"containers": containers, **spec},
    }


def config_map(**data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data}


@pytest.fixture
def k(kubectl, namespace):
    """kubectl in this test's namespace."""

    def run(*words, **options):
        return kubectl("--namespace", namespace, *words, **options)

    run.fails = lambda *words, given=None: kubectl.run("--namespace", namespace, *words, given=given)
    run.json = lambda *words: kubectl.json("--namespace", namespace, *words)
    return run


def test_apply_creates_configures_and_leaves_alone(k):
    assert k("apply", "-f", "-", given=config_map(a="1")) == "configmap/c created\n"
    assert k("apply", "-f", "-", given=config_map(a="1")) == "configmap/c unchanged\n"
    assert k("apply", "-f", "-", given=config_map(b="2")) == "configmap/c configured\n"
    assert k.json("get", "configmap", "c")["data"] == {"b": "2"}


def test_server_side_apply_owns_conflicts_and_is_forced(k):
    k("apply", "--server-side", "-f", "-", given=config_map(a="1", b="2"))
    k("patch", "configmap", "c", "-p", '{"data": {"a": "edited"}}')
    refused = k.fails("apply", "--server-side", "-f", "-", given=config_map(a="1", b="2"))
    assert refused.returncode == 1
    assert 'conflict with "kubectl-patch" using v1' in refused.stderr
    assert ".data.a" in refused.stderr
    k("apply", "--server-side", "--force-conflicts", "-f", "-", given=config_map(a="1", b="2"))
    k("apply", "--server-side", "-f", "-", given=config_map(a="1"))
    assert k.json("get", "configmap", "c")["data"] == {"a": "1"}


def test_client_side_apply_migrates_to_server_side(k):
    k("apply", "-f", "-", given=config_map(a="1", b="2"))
    k("apply", "--server-side", "-f", "-", given=config_map(a="3"))
    assert k.json("get", "configmap", "c")["data"] == {"a": "3"}


def test_get_prints_the_columns_people_know(k):
    k("apply", "-f", "-", given=pod())
    lines = k("get", "pods").splitlines()
    assert lines[0].split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert lines[1].split()[:4] == ["p", "0/1", "Pending", "0"]
    assert "NOMINATED NODE" in k("get", "pods", "-o", "wide")
    assert k("get", "pods", "-l", "app in (demo)", "-o", "name") == "pod/p\n"
    assert k("get", "pods", "-l", "app!=demo") == ""
    assert k("get", "pods", "--field-selector", "status.phase=Pending", "-o", "name") == "pod/p\n"
    assert k("get", "pod", "p", "-o", "jsonpath={.spec.containers[0].image}") == "registry/image:1"


def test_strict_validation_names_the_unknown_field(k, things):
    refused = k.fails("create", "-f", "-", given=thing(typo=1))
    assert 'unknown field "spec.typo"' in refused.stderr
    refused = k.fails("create", "-f", "-", given=pod(typo=1))
    assert 'unknown field "spec.typo"' in refused.stderr
    refused = k.fails("create", "-f", "-", given=thing(min=3, max=2))
    assert 'The Thing "t" is invalid: spec: Invalid value: "object": min must not be above max' in refused.stderr


def test_a_custom_resource_is_listed_described_scaled_and_explained(k, things):
    k("create", "-f", "-", given=thing())
    k("patch", THINGS, "t", "--subresource=status", "--type=merge", "-p", '{"status": {"replicas": 1}}')
    assert k("get", THINGS).splitlines()[0].split() == ["NAME", "READY", "AGE"]
    assert "thing.example.com/t" in k("get", "all")
    assert k("scale", THINGS, "t", "--replicas=3") == "thing.example.com/t scaled\n"
    assert k.json("get", THINGS, "t")["spec"]["replicas"] == 3
    assert "Kind:         Thing" in k("describe", THINGS, "t")
    assert "text\t<string> -required-" in k("explain", "things.spec", "--api-version=example.com/v1")
    assert "things" in k("api-resources", "--api-group=example.com")


def test_explain_knows_the_built_in_kinds(k):
    explained = k("explain", "pod.spec.containers.ports.containerPort")
    assert "FIELD: containerPort <integer>" in explained
    assert "Number of port to expose" in explained


def test_wait_sees_a_condition_and_a_deletion(k, kubectl, namespace):
    k("create", "-f", "-", given=pod())
    waiting = [str(KUBECTL), "--namespace", namespace, "wait", "pod/p", "--timeout=20s"]
    environment = {**os.environ, "KUBECONFIG": str(kubectl.kubeconfig)}
    for condition, act in (
        ("condition=Ready", ("patch", "pod", "p", "--subresource=status", "--type=merge", "-p",
                             '{"status": {"conditions": [{"type": "Ready", "status": "True"}]}}')),
        ("delete", ("delete", "pod", "p")),
    ):  # fmt: skip
        process = subprocess.Popen([*waiting, f"--for={condition}"], env=environment, stdout=subprocess.PIPE, text=True)
        time.sleep(0.3)
        k(*act)
        out, _ = process.communicate(timeout=20)
        assert process.returncode == 0, out


def test_get_watch_prints_every_change(k, kubectl, namespace):
    k("create", "-f", "-", given=pod())
    command = [str(KUBECTL), "--namespace", namespace, "get", "pods", "--watch", "--no-headers"]
    environment = {**os.environ, "KUBECONFIG": str(kubectl.kubeconfig)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().split()[2] == "Pending"
        k("patch", "pod", "p", "--subresource=status", "--type=merge", "-p", '{"status": {"phase": "Running"}}')
        assert process.stdout.readline().split()[2] == "Running"
        process.terminate()
        process.stdout.read()


def test_the_three_patches(k):
    k("create", "-f", "-", given=pod())
    k("patch", "pod", "p", "-p", '{"spec": {"containers": [{"name": "c", "image": "a"}]}}')
    assert k("get", "pod", "p", "-o", "jsonpath={.spec.containers[*].image}") == "a"
    k("patch", "pod", "p", "--type=json", "-p", '[{"op": "replace", "path": "/spec/containers/0/image", "value": "b"}]')
    assert k("get", "pod", "p", "-o", "jsonpath={.spec.containers[*].image}") == "b"
    k("patch", "pod", "p", "--type=merge", "-p", '{"metadata": {"labels": {"app": null}}}')
    assert "labels" not in k.json("get", "pod", "p")["metadata"]


def test_edit_label_annotate_and_set_image(k, kubectl, namespace):
    k("create", "-f", "-", given=pod())
    environment = {**os.environ, "KUBECONFIG": str(kubectl.kubeconfig), "KUBE_EDITOR": "sed -i s/image:1/image:2/"}
    command = [str(KUBECTL), "--namespace", namespace, "edit", "pod", "p"]
    edited = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert edited.stdout == "pod/p edited\n", edited.stderr
    k("label", "pod", "p", "tier=back")
    k("annotate", "pod", "p", "note=hello")
    k("set", "image", "pod/p", "c=registry/image:3")
    shown = k.json("get", "pod", "p")
    assert shown["spec"]["containers"][0]["image"] == "registry/image:3"
    assert (shown["metadata"]["labels"]["tier"], shown["metadata"]["annotations"]["note"]) == ("back", "hello")


def test_the_generators_that_speak_protobuf(k):
    k("create", "secret", "generic", "s", "--from-literal=a=b")
    assert k("get", "secret", "s", "-o", "jsonpath={.data.a}") == "Yg=="
    for words in (
        ("configmap", "c", "--from-literal=a=b"),
        ("serviceaccount", "a"),
        ("role", "r", "--verb=get", "--resource=pods"),
        ("rolebinding", "r", "--role=r", "--serviceaccount=default:default"),
        ("service", "clusterip", "web", "--tcp=80:8080"),
        ("quota", "q", "--hard=cpu=1"),
        ("poddisruptionbudget", "b", "--selector=a=b", "--min-available=1"),
        ("deployment", "d", "--image=x", "--replicas=2"),
        ("job", "j", "--image=x", "--", "sleep", "1"),
        ("cronjob", "j", "--image=x", "--schedule=* * * * *"),
    ):
        assert "created" in k("create", *words), words
    assert k("get", "deployment", "d", "-o", "jsonpath={.spec.replicas}") == "2"
    assert k("get", "job", "j", "-o", "jsonpath={.spec.template.spec.containers[0].command}") == '["sleep","1"]'
    assert k("create", "token", "default").count(".") == 2, "a JSON Web Token has three parts"
    assert k("auth", "can-i", "create", "pods") == "yes\n"
    assert "devcluster" in k("auth", "whoami")


def test_describe_shows_events(k, namespace):
    k("create", "-f", "-", given=pod())
    uid = k("get", "pod", "p", "-o", "jsonpath={.metadata.uid}")
    about = {"apiVersion": "v1", "kind": "Pod", "name": "p", "namespace": namespace, "uid": uid}
    event = {
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "involvedObject": about, "type": "Warning",
        "reason": "FailedScheduling", "message": "0/2 nodes are available", "count": 3,
        "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z",
        "source": {"component": "scheduler"},
    }  # fmt: skip
    k("create", "-f", "-", given=event)
    assert "0/2 nodes are available" in k("describe", "pod", "p")
    assert "FailedScheduling" in k("events", "--for", "pod/p")
    assert k("get", "events").splitlines()[1].split()[1:4] == ["Warning", "FailedScheduling", "pod/p"]


def test_logs_come_from_the_kubelets_file(k, tmp_path):
    log = tmp_path / "log"
    log.write_text("first\nsecond\n")
    k("create", "-f", "-", given=pod())
    assert "is waiting to start" in k.fails("logs", "p").stderr
    k("annotate", "pod", "p", f"devcluster.tidemill.dev/log-c={log}")
    assert k("logs", "p") == "first\nsecond\n"
    assert k("logs", "p", "--tail=1") == "second\n"
    k("patch", "pod", "p", "--subresource=status", "--type=merge", "-p", '{"status": {"phase": "Succeeded"}}')
    assert k("logs", "--follow", "p") == "first\nsecond\n"


def test_delete_waits_and_a_missing_object_is_said(k):
    k("create", "-f", "-", given=pod())
    assert k("delete", "pod", "p", "--wait").startswith('pod "p" deleted')
    assert 'pods "p" not found' in k.fails("get", "pod", "p").stderr
    k("create", "-f", "-", given=config_map(a="1"))
    k("delete", "configmaps", "--all")
    assert 'configmaps "c" not found' in k.fails("get", "configmap", "c").stderr


def test_diff_replace_and_raw(k, things):
    k("apply", "-f", "-", given=config_map(a="1"))
    changed = k.fails("diff", "-f", "-", given=config_map(a="2"))
    assert changed.returncode == 1
    assert '+  a: "2"' in changed.stdout
    k("replace", "-f", "-", given=config_map(a="3"))
    assert k.json("get", "configmap", "c")["data"] == {"a": "3"}
    assert k("get", "--raw", "/readyz") == "ok"
    assert "Kubernetes control plane" in k("cluster-info")


@pytest.mark.skipif(not KUBERAY.exists(), reason=f"KubeRay's definition is not at {KUBERAY}")
def test_kuberays_definition_is_applied_and_judges_quickly(k, tmp_path):
    manifest = tmp_path / "rayclusters.yaml"
    manifest.write_bytes(gzip.decompress(KUBERAY.read_bytes()))
    assert "serverside-applied" in k("apply", "--server-side", "-f", str(manifest))
    k("wait", "--for=condition=Established", "crd/rayclusters.ray.io", "--timeout=10s")
    assert "serverside-applied" in k("apply", "--server-side", "-f", str(manifest))
    head = {"rayStartParams": {}, "template": {"spec": {"containers": [{"name": "ray-head", "image": "ray"}]}}}
    cluster = {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {"name": "r"},
        "spec": {"headGroupSpec": head},
    }
    k("create", "-f", "-", given=cluster)
    assert k("get", "rayclusters").splitlines()[0].startswith("NAME   DESIRED WORKERS")
    wrong = {
        **cluster,
        "metadata": {"name": "s"},
        "spec": {"headGroupSpec": {**head, "rayStartParams": {"num-cpus": 1}}},
    }
    refused = k.fails("create", "-f", "-", given=wrong)
    assert "spec.headGroupSpec.rayStartParams.num-cpus: Invalid value" in refused.stderr
