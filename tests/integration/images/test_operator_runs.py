"""The operator's image as the chart's Deployment wants it run: its variables, its limits, its account and its rights.

An API server alone stands behind it. Docker stands for the kubelet, so that the container is a real one.
"""

import shutil
import time

import pytest
from api_audit import refused
from api_users import serving
from helm_releases import Helm
from integration.operator.conftest import job
from rendered_chart import CHART

pytestmark = [pytest.mark.all, pytest.mark.timeout(900)]

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


@pytest.fixture
def released(cluster, kubectl, namespace, tmp_path, unused_tcp_port):
    """A release of the chart for one namespace; returns the pod's spec in its Deployment."""
    values = {
        "crds": {"install": False},  # the API server has them already, from another hand
        "watchNamespaces": [namespace],
        "settings": {"healthPort": unused_tcp_port},
        "replicas": 1,
    }
    helm = Helm(cluster.kubeconfig, tmp_path, namespace)
    helm("install", namespace, str(CHART), values=values)
    (deployment,) = kubectl.json("get", "deployments", "-n", namespace)["items"]
    yield deployment["spec"]["template"]["spec"]
    helm("uninstall", namespace)
    kubectl("delete", "priorityclass", "--selector", f"app.kubernetes.io/instance={namespace}")


@pytest.fixture
def account(cluster, kubectl, namespace, released, tmp_path):
    """docker's words for what a kubelet gives a pod: its ServiceAccount's folder, and where the API server is."""
    server = serving(cluster.state / "apiserver")
    folder = tmp_path / "account"
    folder.mkdir(mode=0o755)
    (folder / "token").write_text(kubectl("create", "token", released["serviceAccountName"], "-n", namespace).strip())
    (folder / "namespace").write_text(namespace)
    shutil.copyfile(server["ca"], folder / "ca.crt")
    address = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": server["tls_port"]}
    return [f"--volume={folder}:{ACCOUNT}:ro", *(f"--env={name}={value}" for name, value in address.items())]


def limits(spec):
    """docker's words for a container as strict as the pod's spec, and no stricter."""
    (container,) = spec["containers"]
    security = container["securityContext"]
    words = [f"--memory={container['resources']['limits']['memory'].removesuffix('i')}"]
    words += [f"--cap-drop={capability}" for capability in security["capabilities"]["drop"]]
    words += ["--read-only"] if security["readOnlyRootFilesystem"] else []
    words += [] if security["allowPrivilegeEscalation"] else ["--security-opt=no-new-privileges"]
    return words + [f"--tmpfs={mount['mountPath']}:mode=1777" for mount in container["volumeMounts"]]


def variables(spec, namespace):
    """The container's variables as docker's words, with what the downward API would put in."""
    fields = {"metadata.namespace": namespace, "metadata.name": "operator-0"}
    words = []
    for variable in spec["containers"][0]["env"]:
        given = variable.get("value")
        if given is None:
            given = fields[variable["valueFrom"]["fieldRef"]["fieldPath"]]
        words.append(f"--env={variable['name']}={given}")
    return words


@pytest.fixture
def operator(container, operator_image, released, account, namespace):
    """The operator's container, just started."""
    return container(*limits(released), *variables(released, namespace), *account, operator_image[0])


def test_nothing_of_it_can_be_written_but_its_folder_for_passing_files(docker, operator):
    assert docker("exec", operator, "id", "-u").strip() == "65532"
    refusal = docker.run("exec", operator, "touch", "/opt/tidemill/x")
    assert "Read-only file system" in refusal.stderr
    docker("exec", operator, "touch", "/tmp/x")


def test_it_does_its_work_with_the_charts_rights_and_limits(docker, operator, healthy, kubectl, namespace, figure):
    figure("the operator's container is healthy after", healthy(operator, 90))
    kubectl("apply", "-n", namespace, "-f", "-", given=job())
    deadline = time.monotonic() + 60
    while not kubectl.json("get", "rayclusters", "-n", namespace)["items"]:
        logs = docker.run("logs", operator)
        assert time.monotonic() < deadline, logs.stdout + logs.stderr
        time.sleep(0.5)
    checked = docker.run("exec", operator, "tidemill-operator", "check")
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.fixture
def refusals(cluster, namespace, released):
    """What the API server refused to the operator's account, for want of a right."""
    user = f"system:serviceaccount:{namespace}:{released['serviceAccountName']}"
    return lambda: refused(cluster.state / "apiserver", user)


def test_it_ends_when_told_and_leaves_the_lease_to_the_next(docker, operator, healthy, kubectl, namespace, refusals):
    healthy(operator, 90)
    docker("stop", "--time=30", operator)
    logs = docker.run("logs", operator)
    assert docker.inspect(operator)["State"]["ExitCode"] == 0, logs.stdout + logs.stderr
    assert "Traceback" not in logs.stdout + logs.stderr
    assert refusals() == set()
    (lease,) = kubectl.json("get", "leases", "-n", namespace)["items"]
    assert not lease["spec"].get("holderIdentity"), "given up at the end, so that another may take over at once"
