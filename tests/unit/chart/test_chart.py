"""The Helm chart, rendered by the real helm: what it makes is what the operator needs, and no more."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from rendered_chart import CHART, GOLDEN, ROOT, Manifest, environment, golden, helm, one, pod, render

from tidemill_api import labels
from tidemill_operator.config import Settings
from tidemill_operator.manifests import endpoint_cluster, pods


def test_the_chart_is_clean() -> None:
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout
    assert "0 chart(s) failed" in done.stdout


def test_the_chart_installs_the_committed_crds() -> None:
    ours = {path.name: path.read_bytes() for path in (ROOT / "crds").glob("*.yaml")}
    assert {path.name: path.read_bytes() for path in (CHART / "files" / "crds").iterdir()} == ours
    rendered = {m["metadata"]["name"]: m["spec"] for m in render() if m["kind"] == "CustomResourceDefinition"}
    assert rendered == {(crd := yaml.safe_load(text))["metadata"]["name"]: crd["spec"] for text in ours.values()}


def test_chart_and_package_have_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert chart["appVersion"] == version[1]


def test_the_operator_runs_without_privileges() -> None:
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


def test_there_are_no_secrets_in_what_is_rendered() -> None:
    manifests = render()
    assert "Secret" not in {manifest["kind"] for manifest in manifests}
    assert not [name for name in environment(manifests) if re.search("TOKEN|PASSWORD|SECRET|KEY", name)]


def test_probes_ask_the_port_that_the_operator_listens_on() -> None:
    manifests = render(settings={"healthPort": 9000})
    (container,) = pod(manifests)["containers"]
    assert container["ports"] == [{"name": "health", "containerPort": 9000}]
    assert environment(manifests)["TIDEMILL_HEALTH_PORT"] == "9000"
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == {"path": "/healthz", "port": "health"}


def test_the_alert_webhook_has_its_token() -> None:
    manifests = render(settings={"alertsPort": 9095}, alertWebhook={"credentialsSecret": "alerts", "key": "token"})
    (volume,) = [volume for volume in pod(manifests)["volumes"] if volume["name"] == "alerts"]
    assert volume["secret"]["secretName"] == "alerts"
    assert volume["secret"]["items"] == [{"key": "token", "path": "credentials"}]
    (mount,) = [mount for mount in pod(manifests)["containers"][0]["volumeMounts"] if mount["name"] == "alerts"]
    assert Settings().alerts_credentials_file == Path(mount["mountPath"], "credentials")
    assert [port["name"] for port in one(manifests, "Service")["spec"]["ports"]] == ["alerts"]


READ = {"metricsPort": 8080, "metricsNamespaces": ["monitoring"]}


def test_monitors_rules_and_dashboards_are_made_on_demand() -> None:
    wanted = {"monitors": True, "rules": True, "dashboards": True, "labels": {"release": "prom"}}
    url = "https://example.com/runbooks"
    manifests = render(settings=READ, monitoring={**wanted, "runbookURL": url})
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


def test_the_pods_have_the_ports_that_the_monitors_name() -> None:
    manifests = render(
        settings=READ,
        monitoring={"monitors": True},
        watchNamespaces=["team-a"],
    )
    ports = {}
    for monitor in (manifest for manifest in manifests if manifest["kind"] == "PodMonitor"):
        (label,) = [expression["key"] for expression in monitor["spec"]["selector"]["matchExpressions"]]
        ports[label] = {endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]}
        assert monitor["spec"]["namespaceSelector"] == {"matchNames": ["team-a"]}
    assert ports.keys() == {labels.JOB_NAME, labels.ENDPOINT_NAME}
    assert ports[labels.JOB_NAME] <= pods.HEAD_PORTS.keys()
    assert ports[labels.ENDPOINT_NAME] <= endpoint_cluster.WORKER_PORTS.keys()


def test_a_digest_wins_over_a_tag() -> None:
    assert pod(render())["containers"][0]["image"] == "tidemill-operator:0.1.0"
    pinned = {"repository": "r.example.com/op", "tag": "9", "digest": "sha256:" + "a" * 64}
    assert pod(render(image=pinned))["containers"][0]["image"] == "r.example.com/op@sha256:" + "a" * 64


def test_labels_of_the_pod_cannot_break_its_selector() -> None:
    spec = one(render(podLabels={"team": "ml"}), "Deployment")["spec"]
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    assert spec["template"]["metadata"]["labels"]["team"] == "ml"


def test_two_operators_roll_one_after_the_other_and_keep_apart() -> None:
    manifests = render()
    spec = one(manifests, "Deployment")["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    (spread,) = spec["template"]["spec"]["topologySpreadConstraints"]
    assert (spread["topologyKey"], spread["whenUnsatisfiable"]) == ("kubernetes.io/hostname", "ScheduleAnyway")
    assert one(manifests, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1


def test_endpoints_come_before_jobs_and_jobs_push_nobody_away() -> None:
    classes = {m["metadata"]["name"]: m for m in render() if m["kind"] == "PriorityClass"}
    realtime, batch = classes["tide-tidemill-realtime"], classes["tide-tidemill-batch"]
    assert realtime["value"] > batch["value"] >= -10, "below -10 a cluster autoscaler adds no node for a pod"
    assert batch["preemptionPolicy"] == "Never"


def test_classes_that_running_clusters_name_stay_when_the_release_goes() -> None:
    kept = [m["metadata"]["annotations"] for m in render() if m["kind"] == "PriorityClass"]
    assert kept == [{"helm.sh/resource-policy": "keep"}] * 2


def test_what_the_check_said_is_there_for_logs() -> None:
    """Helm 3 carries hook-succeeded out before it reads the logs: helm/helm#9098."""
    assert one(render(), "Pod")["metadata"]["annotations"]["helm.sh/hook-delete-policy"] == "before-hook-creation"


def test_helm_test_runs_the_operators_own_check_as_the_operator() -> None:
    manifests = render()
    check, operator = one(manifests, "Pod"), pod(manifests)
    assert check["metadata"]["annotations"]["helm.sh/hook"] == "test"
    (container,) = check["spec"]["containers"]
    assert container["args"] == ["check"]
    assert container["env"] == operator["containers"][0]["env"]
    assert container["image"] == operator["containers"][0]["image"]
    assert check["spec"]["serviceAccountName"] == operator["serviceAccountName"]


def named_ports(policy: Manifest, direction: str) -> list[object]:
    return [port["port"] for rule in policy["spec"][direction] for port in rule.get("ports", [])]


def test_only_ports_that_are_served_are_open_and_only_to_whom_they_are_for() -> None:
    assert one(render(), "NetworkPolicy")["spec"]["ingress"] == []
    served = {"settings": {**READ, "alertsPort": 9095}, "alertWebhook": {"credentialsSecret": "alerts"}}
    policy = one(render(**served), "NetworkPolicy")
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    assert named_ports(policy, "ingress") == ["metrics", "alerts"]
    metrics, alerts = (rule["from"] for rule in policy["spec"]["ingress"])
    (chosen,) = metrics[0]["namespaceSelector"]["matchExpressions"]
    assert chosen == {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["monitoring"]}
    assert alerts == [{"namespaceSelector": {}}]


def test_with_restricted_egress_the_operator_reaches_names_the_api_server_and_its_own_clusters() -> None:
    policy = one(render(networkPolicy={"restrictEgress": True}, watchNamespaces=["team-a"]), "NetworkPolicy")
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert named_ports(policy, "egress") == [53, 53, 443, 6443]
    (clusters,) = [rule["to"] for rule in policy["spec"]["egress"] if "to" in rule]
    chosen = {peer["podSelector"]["matchExpressions"][0]["key"] for peer in clusters}
    assert chosen == {labels.JOB_NAME, labels.ENDPOINT_NAME}
    assert all(peer["namespaceSelector"]["matchExpressions"][0]["values"] == ["team-a"] for peer in clusters)


def test_the_objects_of_the_default_values_are_those_that_were_looked_at() -> None:
    """Written anew by `PYTHONPATH=tests python -m rendered_chart`, to be read in the difference."""
    assert GOLDEN.read_text() == golden()
