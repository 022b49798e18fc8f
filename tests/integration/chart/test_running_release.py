"""A release whose pods run: helm waits for them, tests them, upgrades them without a gap, and takes everything away."""

import threading
import time

import pytest
from cluster_fixtures import Kubectl
from helm_releases import Helm
from rendered_chart import CHART

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("devcluster")]

LONGEST_GAP = 15.0  # seconds: what the issue allows between two leaders


@pytest.fixture
def release(cluster, namespace, tmp_path, kubectl):
    """A release of the chart in the test's namespace, which watches nothing else."""
    release = Release(Helm(cluster.kubeconfig, tmp_path, namespace), kubectl, namespace)
    yield release
    release.helm.run("uninstall", "tide", "--wait")
    kubectl("delete", "priorityclass", f"{namespace}-realtime", f"{namespace}-batch")


class Release:
    def __init__(self, helm, kubectl, namespace):
        self.helm = helm
        self.kubectl = kubectl
        self.namespace = namespace

    def values(self, **settings):
        return {
            "fullnameOverride": self.namespace,
            "crds": {"install": False},
            "watchNamespaces": [self.namespace],
            "settings": {"allowHostPath": True, **settings},
        }

    def install(self):
        self.helm("install", "tide", str(CHART), "--wait", "--timeout=120s", values=self.values())

    def pods(self):
        found = self.kubectl.json("get", "pods", "-n", self.namespace, "-l", "app.kubernetes.io/component=operator")
        return {pod["metadata"]["name"] for pod in found["items"] if "deletionTimestamp" not in pod["metadata"]}

    def holder(self):
        lease = self.kubectl.json("get", f"lease/{self.namespace}", "-n", self.namespace)
        return lease.get("spec", {}).get("holderIdentity") or ""

    def led(self):
        """Whose pod leads, once one does."""
        deadline = time.monotonic() + 30
        while not (holder := self.holder()):
            assert time.monotonic() < deadline, self.kubectl("describe", "pods", "-n", self.namespace)
            time.sleep(0.2)
        return next(pod for pod in self.pods() if holder.startswith(pod))


def test_helm_waits_for_two_operators_tests_them_and_takes_all_of_it_away(release, kubectl, namespace):
    release.install()
    assert len(release.pods()) == 2
    assert release.led() in release.pods()
    said = release.helm("test", "tide", "--logs", "--timeout=60s")
    assert "Phase:          Succeeded" in said
    assert "WRONG" not in said
    release.helm("uninstall", "tide", "--wait", "--timeout=60s")
    kubectl("delete", "pod", f"{namespace}-check", "-n", namespace)  # with what it said, which `--logs` read
    kubectl("wait", "--for=delete", "pods", "--all", "-n", namespace, "--timeout=60s", timeout=70)
    left = kubectl("get", "all,leases,networkpolicies,poddisruptionbudgets,roles", "-n", namespace, "-o", "name")
    assert left == ""


class Watch:
    """Looks at the Lease all the time, and measures for how long nobody held it or renewed it."""

    def __init__(self, kubeconfig, namespace):
        self._kubectl = Kubectl(kubeconfig)
        self._namespace = namespace
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.longest = 0.0
        self.holders = []

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *failure):
        self._stop.set()
        self._thread.join()

    def _look(self):
        before, since = None, time.monotonic()
        while not self._stop.wait(0.1):
            done = self._kubectl.run("get", f"lease/{self._namespace}", "-n", self._namespace, "-o", "jsonpath={.spec}")
            now = time.monotonic()
            if done.returncode == 0 and done.stdout != before and '"holderIdentity":""' not in done.stdout:
                before, since = done.stdout, now
            self.longest = max(self.longest, now - since)


@pytest.mark.all
@pytest.mark.timeout(400)
def test_an_upgrade_and_a_rollback_roll_both_operators_without_a_gap(release, cluster, namespace, record_property):
    release.install()
    first, leader = release.pods(), release.led()
    with Watch(cluster.kubeconfig, namespace) as watch:
        wait = ("--wait", "--timeout=120s")
        release.helm("upgrade", "tide", str(CHART), *wait, values=release.values(logLevel="DEBUG"))
        second = release.pods()
        assert len(second) == 2
        assert not first & second, "both have the new setting"
        assert release.led() != leader
        release.helm("rollback", "tide", "1", *wait)
        assert not second & release.pods()
        assert release.led()
    record_property("figure", f"longest time without a renewed Lease in two rollouts {watch.longest:.2f} s")
    assert watch.longest < LONGEST_GAP
    assert "Succeeded" in release.helm("test", "tide", "--timeout=60s")


def owners(namespace, folder):
    """A job and an endpoint that get no further than their heads: what they wait for is not there."""
    model = {"name": "m", "source": "/data/m"}
    template = {
        "volumes": [{"name": "data", "hostPath": {"path": str(folder)}}],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    head = {"cpu": "500m", "memory": "2Gi"}
    shared = {"model": model, "template": template, "head": head, "resources": {"cpu": "500m", "memory": "1Gi"}}
    files = {"input": {"uri": "/data/none.jsonl"}, "output": {"uri": "/data/out/"}, "completionWindow": "1h"}
    kinds = {"BatchInferenceJob": files, "RealtimeEndpoint": {"replicas": {"min": 0, "max": 1}}}
    return [
        {
            "apiVersion": "tidemill.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": f"a-{kind.lower()}", "namespace": namespace},
            "spec": shared | spec,
        }
        for kind, spec in kinds.items()
    ]


CHILDREN = "rayclusters,pods,services,secrets,networkpolicies"


@pytest.mark.all
@pytest.mark.timeout(400)
def test_what_runs_outlives_the_release_and_goes_with_its_owner_at_once(release, kubectl, namespace, tmp_path):
    standing = set(kubectl("get", CHILDREN, "-n", namespace, "-o", "name").split())
    release.install()
    for owner in owners(namespace, tmp_path):
        kubectl("create", "-f", "-", given=owner)
    made = wait_for_children(kubectl, namespace)
    release.helm("uninstall", "tide", "--wait", "--timeout=60s")
    left = set(kubectl("get", CHILDREN, "-n", namespace, "-o", "name").split())
    assert made <= left, "no operator runs, and the work goes on"
    for owner in kubectl.json("get", "tidemill", "-n", namespace)["items"]:
        assert "finalizers" not in owner["metadata"]
    began = time.monotonic()
    kubectl("delete", "bij,rte", "--all", "-n", namespace, "--timeout=20s", timeout=30)
    assert time.monotonic() - began < 20
    wait_until_ended(kubectl, namespace, standing)


def wait_until_ended(kubectl, namespace, standing):
    """Nothing is left but what stood before, and pods that have been told to end: they have their grace to do so."""
    deadline = time.monotonic() + 60
    while left := [
        child for child in kubectl.json("get", CHILDREN, "-n", namespace)["items"] if goes_on(child, standing)
    ]:
        assert time.monotonic() < deadline, [f"{child['kind']}/{child['metadata']['name']}" for child in left]
        time.sleep(0.5)
    # Their grace may be many minutes: KubeRay's init container waits for a head that is gone, and hears no SIGTERM.
    kubectl("delete", "pods", "--all", "-n", namespace, "--grace-period=0", "--force")


def goes_on(child, standing):
    ending = child["kind"] == "Pod" and "deletionTimestamp" in child["metadata"]
    return not ending and f"{resource_of(child)}/{child['metadata']['name']}" not in standing


def wait_for_children(kubectl, namespace):
    """The names of all that the operator made for both owners, once their heads' pods are there."""
    deadline = time.monotonic() + 90
    while True:
        found = kubectl.json("get", CHILDREN, "-n", namespace)["items"]
        ours = [child for child in found if labels_of(child).get("app.kubernetes.io/managed-by") == "tidemill"]
        kinds = [child["kind"] for child in ours]
        pods = [child for child in found if "ray.io/cluster" in labels_of(child) and child["kind"] == "Pod"]
        if kinds.count("RayCluster") == 2 and len(pods) >= 2 and {"Secret", "NetworkPolicy"} <= set(kinds):
            return {f"{resource_of(child)}/{child['metadata']['name']}" for child in ours}
        assert time.monotonic() < deadline, kinds
        time.sleep(0.5)


def labels_of(child):
    return child["metadata"].get("labels", {})


def resource_of(child):
    """As `kubectl get -o name` says it."""
    group = child["apiVersion"].rpartition("/")[0]
    return child["kind"].lower() + (f".{group}" if group else "")
