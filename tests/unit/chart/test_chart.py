"""The Helm chart, rendered by the real helm: what it makes is what the operator needs, and no more."""

from __future__ import annotations

import itertools
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from chart_rights import GRANTED, WITH_ALERTS
from pydantic.alias_generators import to_camel

from tidemill_api import labels
from tidemill_operator.config import Settings
from tidemill_operator.manifests import endpoint_cluster, pods

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts" / "tidemill"
HELM = ROOT / ".tidemill" / "bin" / "helm"

Manifest = dict[str, Any]

OURS = ("batchinferencejobs", "batchinferencejobs/status", "realtimeendpoints", "realtimeendpoints/status")
GROUPS = dict.fromkeys(OURS, "tidemill.dev") | {"rayclusters": "ray.io"}
IN_A_WATCHED_NAMESPACE = {(GROUPS.get(resource, ""), resource): verbs for resource, verbs in GRANTED.items()}
EVERYWHERE = {("apiextensions.k8s.io", "customresourcedefinitions"): {"get", "list", "watch"}}


@pytest.fixture
def helm() -> Callable[..., str]:
    assert HELM.exists(), f"{HELM} is missing: run ./hack/setup.sh"

    def run(*arguments: str) -> str:
        done = subprocess.run([str(HELM), *arguments], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def render(helm: Callable[..., str], tmp_path: Path) -> Callable[..., list[Manifest]]:
    def rendered(**values: Any) -> list[Manifest]:
        file = tmp_path / "values.yaml"
        file.write_text(yaml.safe_dump(values))
        text = helm("template", "tide", str(CHART), "--namespace", "tidemill", "--values", str(file))
        return [document for document in yaml.safe_load_all(text) if document]

    return rendered


def one(manifests: list[Manifest], kind: str) -> Manifest:
    (found,) = [manifest for manifest in manifests if manifest["kind"] == kind]
    return found


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    (found,) = [m for m in manifests if m["kind"] == kind and m["metadata"]["name"] == name]
    return found


def granted(role: Manifest) -> dict[tuple[str, str], set[str]]:
    return {
        (group, resource): set(rule["verbs"])
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def pod(manifests: list[Manifest]) -> Manifest:
    spec: Manifest = one(manifests, "Deployment")["spec"]["template"]["spec"]
    return spec


def environment(manifests: list[Manifest]) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in pod(manifests)["containers"][0]["env"]}


def test_the_chart_is_clean(helm: Callable[..., str]) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART))


def test_the_chart_installs_the_committed_crds() -> None:
    ours = {path.name: path.read_bytes() for path in (ROOT / "crds").glob("*.yaml")}
    assert {path.name: path.read_bytes() for path in (CHART / "crds").iterdir()} == ours


def test_chart_and_package_have_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert chart["appVersion"] == version[1]


def test_the_operator_may_do_what_it_needs_in_all_namespaces_and_no_more(render: Callable[..., list[Manifest]]) -> None:
    manifests = render()
    assert granted(named(manifests, "ClusterRole", "tide-tidemill")) == IN_A_WATCHED_NAMESPACE | EVERYWHERE
    assert not [manifest for manifest in manifests if manifest["kind"] in {"Role", "RoleBinding"}]
    assert environment(manifests)["TIDEMILL_NAMESPACES"] == ""


def test_with_named_namespaces_the_operator_may_do_nothing_elsewhere(render: Callable[..., list[Manifest]]) -> None:
    manifests = render(watchNamespaces=["team-a", "team-b"])
    assert granted(named(manifests, "ClusterRole", "tide-tidemill")) == EVERYWHERE | {
        ("", "namespaces"): {"list", "watch"}
    }
    roles = [manifest for manifest in manifests if manifest["kind"] == "Role"]
    assert [role["metadata"]["namespace"] for role in roles] == ["team-a", "team-b"]
    assert all(granted(role) == IN_A_WATCHED_NAMESPACE for role in roles)
    assert environment(manifests)["TIDEMILL_NAMESPACES"] == "team-a,team-b"


def test_every_binding_leads_from_a_role_of_ours_to_our_service_account(render: Callable[..., list[Manifest]]) -> None:
    manifests = render(watchNamespaces=["team-a"])
    account = one(manifests, "ServiceAccount")["metadata"]
    bindings = [manifest for manifest in manifests if manifest["kind"].endswith("Binding")]
    assert len(bindings) == 2
    for binding in bindings:
        (subject,) = binding["subjects"]
        assert (subject["name"], subject["namespace"]) == (account["name"], "tidemill")
        role = named(manifests, binding["roleRef"]["kind"], binding["roleRef"]["name"])
        assert role["metadata"].get("namespace") == binding["metadata"].get("namespace")
    assert pod(manifests)["serviceAccountName"] == account["name"]


def test_no_role_reaches_for_more(render: Callable[..., list[Manifest]]) -> None:
    for role in (
        manifest for manifest in render(watchNamespaces=["a"]) + render() if manifest["kind"].endswith("Role")
    ):
        for (group, resource), verbs in granted(role).items():
            assert "*" not in (group, resource, *verbs)
            assert not {"escalate", "bind", "impersonate"} & verbs
            assert not (resource == "pods" and verbs - {"get", "list", "watch"}), "the operator makes no pods"
            assert not (resource == "secrets" and {"list", "watch"} & verbs), "nobody's Secrets are looked through"


def test_the_operator_runs_without_privileges(render: Callable[..., list[Manifest]]) -> None:
    spec = pod(render())
    (container,) = spec["containers"]
    assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert [volume for volume in spec["volumes"] if "hostPath" in volume] == []
    assert container["resources"]["limits"]["memory"]
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}


def test_there_are_no_secrets_in_what_is_rendered(render: Callable[..., list[Manifest]]) -> None:
    manifests = render()
    assert "Secret" not in {manifest["kind"] for manifest in manifests}
    assert not [name for name in environment(manifests) if re.search("TOKEN|PASSWORD|SECRET|KEY", name)]


def test_only_one_operator_runs_at_a_time(render: Callable[..., list[Manifest]]) -> None:
    spec = one(render(), "Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_probes_ask_the_port_that_the_operator_listens_on(render: Callable[..., list[Manifest]]) -> None:
    manifests = render(settings={"healthPort": 9000})
    (container,) = pod(manifests)["containers"]
    assert container["ports"] == [{"name": "health", "containerPort": 9000}]
    assert environment(manifests)["TIDEMILL_HEALTH_PORT"] == "9000"
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == {"path": "/healthz", "port": "health"}


def test_the_values_are_the_operators_settings_with_its_defaults(render: Callable[..., list[Manifest]]) -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert values["settings"].keys() == {to_camel(name) for name in Settings.model_fields} - {
        "namespaces",  # watchNamespaces, which the roles need as well
        "allowTestEngine",  # for tests, never in production
        "allowLoopbackInput",  # for clusters of one machine, likewise
        "alertsCredentialsFile",  # where alertWebhook.credentialsSecret is mounted
    }
    assert Settings.from_environment(environment(render())) == Settings()


NOT_IN_THE_CHART = {"namespaces", "allow_test_engine", "allow_loopback_input", "alerts_credentials_file"}


def test_every_setting_reaches_the_operator(render: Callable[..., list[Manifest]]) -> None:
    wanted = Settings(
        image_cpu="registry.example.com/cpu:1",
        allow_host_path=True,
        allowed_service_accounts=("reader", "writer"),
        namespaces=("team-a",),
        poll_seconds=1.5,
        resync_seconds=86400,
        backoff_max_seconds=3600,
        log_level="DEBUG",
    )
    given = wanted.model_dump(mode="json", exclude=NOT_IN_THE_CHART)
    settings = {to_camel(name): value for name, value in given.items()}
    manifests = render(watchNamespaces=["team-a"], settings=settings)
    assert Settings.from_environment(environment(manifests)) == wanted


ALERTS = {"settings": {"alertsPort": 9095}, "alertWebhook": {"credentialsSecret": "alerts", "key": "token"}}


def test_with_the_alert_webhook_the_operator_may_write_the_objects_and_has_the_token(
    render: Callable[..., list[Manifest]],
) -> None:
    manifests = render(**ALERTS)
    rights = granted(named(manifests, "ClusterRole", "tide-tidemill"))
    more = {("tidemill.dev", resource): verbs | GRANTED[resource] for resource, verbs in WITH_ALERTS.items()}
    assert rights == IN_A_WATCHED_NAMESPACE | EVERYWHERE | more
    (volume,) = [volume for volume in pod(manifests)["volumes"] if volume["name"] == "alerts"]
    assert volume["secret"]["secretName"] == "alerts"
    assert volume["secret"]["items"] == [{"key": "token", "path": "credentials"}]
    (mount,) = [mount for mount in pod(manifests)["containers"][0]["volumeMounts"] if mount["name"] == "alerts"]
    assert Settings().alerts_credentials_file == Path(mount["mountPath"], "credentials")
    assert [port["name"] for port in one(manifests, "Service")["spec"]["ports"]] == ["alerts"]


def test_the_alert_webhook_needs_a_token() -> None:
    command = [str(HELM), "template", "tide", str(CHART), "--set", "settings.alertsPort=9095"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode != 0
    assert "alertWebhook.credentialsSecret is needed" in done.stderr


def test_monitors_rules_and_dashboards_are_made_on_demand(render: Callable[..., list[Manifest]]) -> None:
    wanted = {"monitors": True, "rules": True, "dashboards": True, "labels": {"release": "prom"}}
    url = "https://example.com/runbooks"
    manifests = render(settings={"metricsPort": 8080}, monitoring={**wanted, "runbookURL": url})
    ours = {"ServiceMonitor", "PodMonitor", "PrometheusRule", "ConfigMap"}
    made = [manifest for manifest in manifests if manifest["kind"] in ours]
    assert [manifest["metadata"]["labels"]["release"] for manifest in made] == ["prom"] * 5
    rules = one(manifests, "PrometheusRule")["spec"]["groups"]
    assert rules[0]["rules"][0]["annotations"]["runbook_url"] == f"{url}/TidemillJobQueueWarning.md"
    assert one(manifests, "ConfigMap")["data"].keys() == {path.name for path in CHART.glob("files/dashboards/*.json")}
    monitor = one(manifests, "ServiceMonitor")["spec"]
    service = one(manifests, "Service")
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert [endpoint["port"] for endpoint in monitor["endpoints"]] == ["metrics"]
    assert not [manifest for manifest in render() if manifest["kind"] in ours | {"Service"}]


def test_the_pods_have_the_ports_that_the_monitors_name(render: Callable[..., list[Manifest]]) -> None:
    manifests = render(settings={"metricsPort": 8080}, monitoring={"monitors": True}, watchNamespaces=["team-a"])
    ports = {}
    for monitor in (manifest for manifest in manifests if manifest["kind"] == "PodMonitor"):
        (label,) = [expression["key"] for expression in monitor["spec"]["selector"]["matchExpressions"]]
        ports[label] = {endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]}
        assert monitor["spec"]["namespaceSelector"] == {"matchNames": ["team-a"]}
    assert ports.keys() == {labels.JOB_NAME, labels.ENDPOINT_NAME}
    assert ports[labels.JOB_NAME] <= pods.HEAD_PORTS.keys()
    assert ports[labels.ENDPOINT_NAME] <= endpoint_cluster.WORKER_PORTS.keys()


def test_a_digest_wins_over_a_tag(render: Callable[..., list[Manifest]]) -> None:
    assert pod(render())["containers"][0]["image"] == "tidemill-operator:0.1.0"
    pinned = {"repository": "r.example.com/op", "tag": "9", "digest": "sha256:" + "a" * 64}
    assert pod(render(image=pinned))["containers"][0]["image"] == "r.example.com/op@sha256:" + "a" * 64


def test_roles_of_users_join_kubernetes_own_and_can_be_left_out(render: Callable[..., list[Manifest]]) -> None:
    edit = named(render(), "ClusterRole", "tide-tidemill-edit")
    assert edit["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"] == "true"
    scale = next(rule for rule in edit["rules"] if rule["resources"] == ["realtimeendpoints/scale"])
    assert scale["verbs"] == ["get", "update", "patch"]  # what kubectl scale and an autoscaler ask for
    without = render(rbac={"aggregateToDefaultRoles": False})
    assert [m["metadata"]["name"] for m in without if m["kind"] == "ClusterRole"] == ["tide-tidemill"]


def test_labels_of_the_pod_cannot_break_its_selector(render: Callable[..., list[Manifest]]) -> None:
    spec = one(render(podLabels={"team": "ml"}), "Deployment")["spec"]
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    assert spec["template"]["metadata"]["labels"]["team"] == "ml"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("setings.pollSeconds=1", "setings"),
        ("settings.poll=1", "poll"),
        ("settings.pollSeconds=0", "pollSeconds"),
        ("settings.logLevel=LOUD", "logLevel"),
        ("settings.healthPort=80", "healthPort"),
        ("image.digest=latest", "digest"),
        ("watchNamespaces={Team_A}", "watchNamespaces"),
    ],
)
def test_a_wrong_value_is_refused_and_named(setting: str, message: str) -> None:
    command = [str(HELM), "template", "tide", str(CHART), "--set", setting]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode != 0
    assert message in done.stderr


def test_every_value_has_a_comment() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    bare = [
        line
        for before, line in itertools.pairwise(lines)
        if re.match(r"\s*\w+:", line) and not re.match(r"\s*(#|\w+:\s*(\{\}|\[\]|\"\")?$)", before)
    ]
    allowed = {"requests:", "limits:", "cpu: 100m", "memory: 256Mi", "memory: 1Gi"}
    assert [line for line in bare if line.strip() not in allowed] == []
