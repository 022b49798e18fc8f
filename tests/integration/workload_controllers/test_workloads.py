"""Deployments and Jobs as kubectl and helm know them, with real pods from the checkout."""

import json
import os
import subprocess

import pytest
from cluster_fixtures import CHECKOUT

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("devcluster")]

HELM = CHECKOUT / ".tidemill" / "bin" / "helm"
ASK = """
import json, ssl, sys, urllib.request
folder = "/var/run/secrets/kubernetes.io/serviceaccount/"
token, namespace = (open(folder + name).read() for name in ("token", "namespace"))
where = "https://kubernetes.default.svc/apis/authentication.k8s.io/v1/selfsubjectreviews"
body = json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}).encode()
headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json"}
request = urllib.request.Request(where, body, headers)
context = ssl.create_default_context(cafile=folder + "ca.crt")
print(json.load(urllib.request.urlopen(request, context=context))["status"]["userInfo"]["username"], namespace)
"""


def container(*command, **fields):
    return {"name": "main", "image": "any", "command": list(command), **fields}


def web(mark="one", **spec):
    script = f"echo this is {mark}; exec python -m http.server 8000"
    ready = {"httpGet": {"port": 8000, "path": "/"}, "periodSeconds": 1, "timeoutSeconds": 10}
    pod = {"terminationGracePeriodSeconds": 1,
           "containers": [container("sh", "-c", script, readinessProbe=ready)]}  # fmt: skip
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": pod}
    wanted = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": wanted}


def job(*command, **spec):
    template = {"spec": {"restartPolicy": "Never", "containers": [container(*command)]}}
    wanted = {"template": template, **spec}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"}, "spec": wanted}


@pytest.fixture
def k(kubectl, namespace):
    """kubectl in this test's namespace."""

    def run(*words, **options):
        return kubectl(*words, "--namespace", namespace, **options)

    return run


def pods(k):
    return [one["metadata"]["name"] for one in json.loads(k("get", "pods", "-o", "json"))["items"]]


def said(k):
    """What the pods that stay have printed; one that still ends belongs to the revision before."""
    listed = json.loads(k("get", "pods", "-o", "json"))["items"]
    staying = [one["metadata"] for one in listed if "deletionTimestamp" not in one["metadata"]]
    return "".join(k("logs", one["name"]) for one in staying if one.get("labels", {}).get("app") == "web")


def roll_out(k):
    return k("rollout", "status", "deployment/web", "--timeout=60s", timeout=70)


def test_a_deployment_is_rolled_out_restarted_scaled_and_rolled_back(k):
    k("apply", "-f", "-", given=web())
    assert "successfully rolled out" in roll_out(k)
    assert "this is one" in k("logs", "deployment/web", "--tail=50")
    first = pods(k)
    k("apply", "-f", "-", given=web("two"))
    roll_out(k)
    assert said(k).count("this is two") == 2
    k("rollout", "restart", "deployment/web")
    roll_out(k)
    k("scale", "deployment/web", "--replicas=1")
    roll_out(k)
    k("rollout", "undo", "deployment/web", "--to-revision=1")
    roll_out(k)
    assert said(k).count("this is one") == 1
    history = k("rollout", "history", "deployment/web")
    assert [line.split()[0] for line in history.splitlines()[2:] if line.strip()] == ["2", "3", "4"]
    assert not set(first) & set(pods(k))
    k("delete", "pod", "--all", "--wait=false")
    roll_out(k)
    k("delete", "deployment", "web", "--cascade=foreground", "--timeout=30s")
    assert pods(k) == []


def test_a_job_runs_to_its_end_under_its_account_over_tls(k, namespace):
    k("create", "serviceaccount", "robot")
    body = job("python", "-c", ASK)
    body["spec"]["template"]["spec"]["serviceAccountName"] = "robot"
    k("apply", "-f", "-", given=body)
    k("wait", "--for=condition=Complete", "job/once", "--timeout=30s")
    assert k("logs", "job/once").strip() == f"system:serviceaccount:{namespace}:robot {namespace}"


@pytest.mark.all
def test_a_job_that_fails_says_so_and_goes_after_its_time(k):
    k("apply", "-f", "-", given=job("false", backoffLimit=0, ttlSecondsAfterFinished=2))
    k("wait", "--for=condition=Failed", "job/once", "--timeout=30s")
    k("wait", "--for=delete", "job/once", "--timeout=30s")
    assert pods(k) == []


@pytest.mark.all
def test_a_deployment_that_never_gets_ready_is_late_and_its_refused_pods_are_told(k, namespace, kubectl):
    stuck = web(progressDeadlineSeconds=2, replicas=1)
    stuck["spec"]["template"]["spec"]["containers"][0]["image"] = "nginx"
    del stuck["spec"]["template"]["spec"]["containers"][0]["command"]
    k("apply", "-f", "-", given=stuck)
    with pytest.raises(AssertionError, match="exceeded its progress deadline"):
        roll_out(k)
    assert "ErrImagePull" in k("get", "pods")
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    k("rollout", "restart", "deployment/web")
    k("wait", "--for=condition=ReplicaFailure", "deployment/web", "--timeout=30s")
    assert 'violates PodSecurity "restricted:latest"' in k("get", "deployment", "web", "-o", "yaml")


CHART = {
    "Chart.yaml": "apiVersion: v2\nname: small\nversion: 0.1.0\n",
    "values.yaml": "mark: one\n",
    "templates/web.yaml": json.dumps(web("{{ .Values.mark }}")),
    "templates/budget.yaml": json.dumps({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "web"},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "web"}}},
    }),
    "templates/before.yaml": json.dumps({
        **job("true"),
        "metadata": {"name": "before", "annotations": {"helm.sh/hook": "pre-install,pre-upgrade",
                                                       "helm.sh/hook-delete-policy": "before-hook-creation"}},
    }),
    "templates/check.yaml": json.dumps({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "check", "annotations": {"helm.sh/hook": "test"}},
        "spec": {"restartPolicy": "Never", "containers": [container("echo", "all is well")]},
    }),
}  # fmt: skip


@pytest.fixture
def helm(cluster, namespace, tmp_path):
    environment = {**os.environ, "HOME": str(tmp_path), "KUBECONFIG": str(cluster.kubeconfig)}
    for name, content in CHART.items():
        file = tmp_path / "chart" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)

    def run(*words):
        command = [str(HELM), *words, "--namespace", namespace]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_helm_waits_tests_upgrades_rolls_back_and_removes(helm, k, tmp_path):
    chart = str(tmp_path / "chart")
    helm("install", "small", chart, "--wait", "--timeout=60s")
    ready = json.loads(k("get", "deployment", "web", "-o", "json"))["status"]["readyReplicas"]
    assert ready == 2
    assert json.loads(k("get", "pdb", "web", "-o", "json"))["status"]["disruptionsAllowed"] == 1
    assert "all is well" in helm("test", "small", "--logs", "--timeout=60s")
    helm("upgrade", "small", chart, "--set", "mark=two", "--wait", "--timeout=60s")
    assert said(k).count("this is two") == 2
    helm("rollback", "small", "1", "--wait", "--timeout=60s")
    assert said(k).count("this is one") == 2
    helm("uninstall", "small", "--wait", "--timeout=60s")
    assert "web" not in k("get", "deployments", "--ignore-not-found")
    k("wait", "--for=delete", "pod", "-l", "app=web", "--timeout=30s")
