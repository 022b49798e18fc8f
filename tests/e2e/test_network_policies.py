"""With the operator's NetworkPolicies, work goes on as ever and nobody else reaches the pods that do it.

That what is needed is allowed shows in every test of this folder: the chart has the policies on. On a cluster without
them, or whose network plugin does not enforce them, these tests are skipped.
"""

import json
import secrets

import pytest

pytestmark = [pytest.mark.cluster, pytest.mark.all, pytest.mark.timeout(400)]

GCS, DASHBOARD, RAY_CLIENT, RAY_METRICS, JOB_METRICS, HTTP, AGENT = 6379, 8265, 10001, 8080, 8090, 8000, 52365
LISTEN = "import http.server; http.server.HTTPServer(('', 8000), http.server.SimpleHTTPRequestHandler).serve_forever()"
TRY = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
def opens(place):
    try:
        socket.create_connection((place[0], place[1]), timeout=place[2]).close()
    except OSError:
        return False
    return True
places = json.loads(sys.argv[1])
print(json.dumps(list(ThreadPoolExecutor(len(places)).map(opens, places))))
"""


@pytest.fixture
def stranger(devcluster, kubectl):
    """Asks a pod of another namespace, which has nothing to do with Tidemill, which places take its connections."""
    namespace = f"stranger-{secrets.token_hex(3)}"
    kubectl("create", "namespace", namespace)
    one = Stranger(kubectl, namespace)
    one.check_enforcement()
    yield one
    kubectl("delete", "namespace", namespace, "--timeout=120s", timeout=130)


class Stranger:
    """Pods of a namespace of their own."""

    def __init__(self, kubectl, namespace):
        self.kubectl = kubectl
        self.namespace = namespace
        self.asked = 0

    def check_enforcement(self):
        """Skip where a pod that nobody may reach is reached."""
        self.pod("hidden", "python3", "-c", LISTEN)
        self.pod("open", "python3", "-c", LISTEN)
        deny = {"podSelector": {"matchLabels": {"run": "hidden"}}, "policyTypes": ["Ingress"]}
        body = {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "deny"},
            "spec": deny,
        }
        self.kubectl("apply", "-n", self.namespace, "-f", "-", given=body)
        self.kubectl("wait", "pod/hidden", "pod/open", "--for=condition=Ready", "-n", self.namespace, "--timeout=60s")
        addresses = [self.address(name) for name in ("hidden", "open")]
        reached = self.reaches((addresses[1], HTTP, 10), (addresses[0], HTTP, 2))
        assert reached[0], "a pod without a policy is not reached"
        if reached[1]:
            pytest.skip("the cluster's network plugin does not enforce NetworkPolicies")

    def pod(self, name, *command):
        container = {"name": "main", "image": "python:3.11-slim", "command": list(command)}
        metadata = {"name": name, "labels": {"run": name}}
        if name in {"hidden", "open"}:
            container["readinessProbe"] = {"tcpSocket": {"port": HTTP}, "periodSeconds": 1}
        spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container]}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        self.kubectl("apply", "-n", self.namespace, "-f", "-", given=body)

    def address(self, name):
        return self.kubectl.json("get", "pod", name, "-n", self.namespace)["status"]["podIP"]

    def reaches(self, *places):
        """Whether each place (address, port, seconds) takes a connection."""
        self.asked += 1
        name = f"asks-{self.asked}"
        self.pod(name, "python3", "-c", TRY, json.dumps(places))
        done = "--for=jsonpath={.status.phase}=Succeeded"
        self.kubectl("wait", f"pod/{name}", done, "-n", self.namespace, "--timeout=90s", timeout=100)
        return json.loads(self.kubectl("logs", name, "-n", self.namespace))

    def open_ports(self, pods, ports):
        """For each pod those of the ports that take a connection within two seconds."""
        places = [(pod["status"]["podIP"], port) for pod in pods for port in ports]
        answers = dict(zip(places, self.reaches(*((*place, 2) for place in places)), strict=True))
        return [{port for port in ports if answers[pod["status"]["podIP"], port]} for pod in pods]


def need_policies(kubectl, namespace):
    if not kubectl.json("get", "networkpolicies", "-n", namespace)["items"]:
        pytest.skip("this operator makes no NetworkPolicies (settings.networkPolicies of the chart)")


def test_a_job_is_done_and_no_port_of_its_pods_is_open_to_others(jobs, stranger):
    ids = jobs.write_rows(30)
    jobs.apply(jobs.manifest(engine="engines:slow", environment={"TIDEMILL_TEST_SECONDS": "15"}))
    jobs.wait_until(lambda: jobs.get().get("status", {}).get("workers", {}).get("ready"), what="a worker")
    need_policies(jobs.kubectl, jobs.namespace)
    pods = jobs.kubectl.json("get", "pods", "-n", jobs.namespace)["items"]
    ports = (GCS, DASHBOARD, RAY_CLIENT, RAY_METRICS, JOB_METRICS, AGENT)
    assert stranger.open_ports(pods, ports) == [set(), set()]
    succeeded = jobs.wait_finished()
    assert (succeeded["status"], succeeded["reason"]) == ("True", "AllRowsAnswered"), succeeded
    assert jobs.answered_ids() == ids


def test_clients_reach_an_endpoint_and_no_other_port_of_its_pods(endpoints, stranger):
    endpoints.bring_up(endpoints.manifest())
    need_policies(endpoints.kubectl, endpoints.namespace)
    service = endpoints.kubectl.json("get", "service", "chat", "-n", endpoints.namespace)
    assert stranger.reaches((service["spec"]["clusterIP"], 80, 10)) == [True]
    ports = (HTTP, GCS, DASHBOARD, RAY_CLIENT, RAY_METRICS, AGENT)
    pods = [*endpoints.pods("head"), *endpoints.pods("worker")]
    assert stranger.open_ports(pods, ports) == [{HTTP}, {HTTP}]
