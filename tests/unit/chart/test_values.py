"""The chart's values: those of the operator's settings, each with a comment, and mistakes refused by name."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import pytest
import yaml
from pydantic.alias_generators import to_camel
from rendered_chart import CHART, environment, refusal, render

from tidemill_operator.config import Settings

NOT_SETTINGS = {
    "namespaces",  # watchNamespaces, which the roles need as well
    "allow_test_engine",  # for tests, never in production
    "allow_loopback_input",  # for clusters of one machine, likewise
    "alerts_credentials_file",  # where alertWebhook.credentialsSecret is mounted
    # What the chart knows without being told.
    "lease_name",
    "operator_namespace",
    "operator_selector",
    "pod_name",
}
BY_THE_CHART = Settings(
    lease_name="tide-tidemill",
    operator_namespace="tidemill",
    operator_selector=(
        "app.kubernetes.io/name=tidemill",
        "app.kubernetes.io/instance=tide",
        "app.kubernetes.io/component=operator",
    ),
    pod_name="tide-tidemill-0",
    realtime_priority_class="tide-tidemill-realtime",
    batch_priority_class="tide-tidemill-batch",
    network_policies=True,
)
"""What the operator is told by a release `tide` in namespace `tidemill` with the chart's defaults."""


def told(**values: Any) -> Settings:
    """What the operator reads of the values, in a pod called tide-tidemill-0."""
    downward = {"TIDEMILL_OPERATOR_NAMESPACE": "tidemill", "TIDEMILL_POD_NAME": "tide-tidemill-0"}
    return Settings.from_environment(environment(render(**values)) | downward)


def test_the_values_are_the_operators_settings_with_its_defaults() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert values["settings"].keys() == {to_camel(name) for name in Settings.model_fields.keys() - NOT_SETTINGS}
    assert told() == BY_THE_CHART


def test_own_priority_classes_win_over_those_of_the_chart_and_can_be_none() -> None:
    assert told(settings={"realtimePriorityClass": "gold"}).realtime_priority_class == "gold"
    without = told(priorityClasses={"create": False}, settings={"batchPriorityClass": "bronze"})
    assert (without.realtime_priority_class, without.batch_priority_class) == ("", "bronze")


def test_every_setting_reaches_the_operator() -> None:
    other = {
        "image_cpu": "registry.example.com/cpu:1",
        "allow_host_path": True,
        "allowed_service_accounts": ("reader", "writer"),
        "namespaces": ("team-a",),
        "gpu_limit": 1_000_000,
        "poll_seconds": 1.5,
        "resync_seconds": 86400,
        "backoff_max_seconds": 3600,
        "network_policies": False,
        "metrics_namespaces": ("prometheus",),
        "log_level": "DEBUG",
    }
    wanted = BY_THE_CHART.model_copy(update=other)
    given = wanted.model_dump(mode="json", exclude=NOT_SETTINGS)
    settings = {to_camel(name): value for name, value in given.items()}
    assert told(watchNamespaces=["team-a"], settings=settings) == wanted


def test_more_variables_may_be_given() -> None:
    extra = [
        {"name": "KUBERNETES_SERVICE_HOST", "value": "api.example.com"},
        {"name": "TIDEMILL_ALLOW_TEST_ENGINE", "value": "true"},
    ]
    assert environment(render(extraEnv=extra)).items() >= {entry["name"]: entry["value"] for entry in extra}.items()


def test_every_value_has_a_comment() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    bare = [
        line
        for before, line in itertools.pairwise(lines)
        if re.match(r"\s*\w+:", line) and not re.match(r"\s*#", before)
    ]
    allowed = {"requests:", "limits:", "cpu: 100m", "memory: 256Mi", "memory: 1Gi"}
    assert [line for line in bare if line.strip() not in allowed] == []


def test_the_schema_knows_and_wants_every_value_and_nothing_else() -> None:
    """A value that is taken away by `null`, or that `--reuse-values` brings no default of, is missed by name."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert schema["properties"].keys() - {"global"} == values.keys() == set(schema["required"])
    for name, value in values.items():
        section = schema["properties"][name]
        if isinstance(value, dict) and value and name != "resources":
            assert section["properties"].keys() == value.keys() == set(section["required"]), name


def test_every_object_of_the_schema_is_closed() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    free = {"global", "labelSelector", "nodeAffinity", "podAffinity", "podAntiAffinity"}  # Kubernetes' own, or Helm's

    def open_ones(node: Any, path: str) -> list[str]:
        if isinstance(node, list):
            return [found for number, item in enumerate(node) for found in open_ones(item, f"{path}.{number}")]
        if not isinstance(node, dict):
            return []
        bare = node.get("type") == "object" and "additionalProperties" not in node
        name = path.rpartition(".")[2]
        mine = [path] if bare and name not in free else []
        return mine + [found for key, item in node.items() for found in open_ones(item, f"{path}.{key}")]

    assert open_ones(schema, "") == []


WRONG = [
    ({"settings": None}, "settings"),
    ({"settings": {"healthPort": None}}, "healthPort"),
    ({"setings": {"pollSeconds": 1}}, "setings"),
    ({"settings": {"poll": 1}}, "poll"),
    ({"settings": {"pollSeconds": 0}}, "/settings/pollSeconds"),
    ({"settings": {"pollSeconds": "2"}}, "/settings/pollSeconds"),
    ({"settings": {"logLevel": "LOUD"}}, "/settings/logLevel"),
    ({"settings": {"healthPort": 80}}, "/settings/healthPort"),
    ({"settings": {"healthPort": 0}}, "/settings/healthPort"),
    ({"settings": {"metricsPort": 80}}, "/settings/metricsPort"),
    ({"settings": {"allowHostPath": "yes"}}, "/settings/allowHostPath"),
    ({"settings": {"allowedServiceAccounts": "reader"}}, "/settings/allowedServiceAccounts"),
    ({"settings": {"rayVersion": "2.60"}}, "/settings/rayVersion"),
    ({"settings": {"imageCpu": "two words"}}, "/settings/imageCpu"),
    ({"replicas": 0}, "/replicas"),
    ({"replicas": "2"}, "/replicas"),
    ({"replicas": 2.5}, "/replicas"),
    ({"image": {"digest": "latest"}}, "/image/digest"),
    ({"image": {"repository": "operator:0.1.0"}}, "/image/repository"),
    ({"image": {"pullPolicy": "always"}}, "/image/pullPolicy"),
    ({"imagePullSecrets": ["registry"]}, "/imagePullSecrets/0"),
    ({"watchNamespaces": ["Team_A"]}, "/watchNamespaces/0"),
    ({"watchNamespaces": ["a", "a"]}, "/watchNamespaces"),
    ({"watchNamespaces": "team-a"}, "/watchNamespaces"),
    ({"crds": {"keep": "no"}}, "/crds/keep"),
    ({"networkPolicy": {"alertsNamespaces": ["a.b"]}}, "/networkPolicy/alertsNamespaces/0"),
    ({"networkPolicy": {"apiServerPorts": []}}, "/networkPolicy/apiServerPorts"),
    ({"priorityClasses": {"realtime": 2000000000}}, "/priorityClasses/realtime"),
    ({"podDisruptionBudget": {"maxUnavailable": 0}}, "/podDisruptionBudget/maxUnavailable"),
    ({"resources": {"limits": {"memory": "1GB"}}}, "/resources/limits/memory"),
    ({"resources": {"limits": {"memory": None}}}, "/resources/limits"),
    ({"resources": {"claims": []}}, "claims"),
    ({"extraEnv": [{"name": "A"}]}, "/extraEnv/0"),
    ({"extraEnv": [{"name": "A", "value": True}]}, "/extraEnv/0"),
    ({"extraEnv": [{"name": "A=B", "value": "x"}]}, "/extraEnv/0/name"),
    ({"extraEnv": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s"}}}]}, "/extraEnv/0/valueFrom/secretKeyRef"),
    ({"podLabels": {"team": 5}}, "/podLabels/team"),
    ({"podLabels": {"team": "two words"}}, "/podLabels/team"),
    ({"podAnnotations": {"a b": "x"}}, "a b"),
    ({"nodeSelector": {"gpu": True}}, "/nodeSelector/gpu"),
    ({"tolerations": [{"effect": "NoWay"}]}, "/tolerations/0/effect"),
    ({"affinity": {"nodes": {}}}, "nodes"),
    ({"topologySpreadConstraints": [{"maxSkew": 1}]}, "/topologySpreadConstraints/0"),
    ({"monitoring": {"scrapeSeconds": 0}}, "/monitoring/scrapeSeconds"),
    ({"monitoring": {"runbookURL": "https://example.com/"}}, "/monitoring/runbookURL"),
    ({"serviceAccount": {"name": "Me"}}, "/serviceAccount/name"),
    ({"nameOverride": "a.b"}, "/nameOverride"),
    ({"fullnameOverride": "1st"}, "/fullnameOverride"),
    ({"fullnameOverride": "a" * 54}, "/fullnameOverride"),
    ({"alertWebhook": {"key": "a/b"}}, "/alertWebhook/key"),
]


@pytest.mark.parametrize(("values", "place"), WRONG, ids=[json.dumps(values)[:60] for values, _ in WRONG])
def test_a_wrong_value_is_refused_and_named(values: dict[str, Any], place: str) -> None:
    assert place in refusal(values)


TOGETHER = [
    ({"settings": {"alertsPort": 9095}}, "alertWebhook.credentialsSecret is needed with settings.alertsPort"),
    ({"monitoring": {"monitors": True}}, "monitoring.monitors needs settings.metricsPort"),
    ({"monitoring": {"monitors": True}, "settings": {"metricsPort": 8080}}, "needs settings.metricsNamespaces"),
    ({"monitoring": {"rules": True}}, "monitoring.rules needs settings.metricsPort"),
    ({"settings": {"metricsPort": 8081}}, "settings.healthPort and settings.metricsPort are both 8081"),
    ({"settings": {"backoffMinSeconds": 700}}, "backoffMinSeconds must not be above settings.backoffMaxSeconds"),
    ({"serviceAccount": {"create": False}}, "serviceAccount.name is needed"),
    ({"priorityClasses": {"batch": 0}}, "priorityClasses.realtime (0) must be above priorityClasses.batch (0)"),
    ({"extraEnv": [{"name": "TIDEMILL_LOG_LEVEL", "value": "INFO"}]}, "extraEnv names TIDEMILL_LOG_LEVEL"),
    ({"extraEnv": [{"name": "TIDEMILL_LEASE_NAME", "value": "x"}]}, "extraEnv names TIDEMILL_LEASE_NAME"),
    ({"podLabels": {"app.kubernetes.io/name": "x"}}, "podLabels names app.kubernetes.io/name, which the chart sets"),
    ({"podLabels": {"helm.sh/chart": "x"}}, "podLabels names helm.sh/chart, which the chart sets"),
    (
        {"monitoring": {"labels": {"app.kubernetes.io/component": "x"}}},
        "monitoring.labels names app.kubernetes.io/comp",
    ),
    ({"monitoring": {"labels": {"grafana_dashboard": "1"}}}, "monitoring.labels names grafana_dashboard"),
]


@pytest.mark.parametrize(("values", "message"), TOGETHER, ids=[message[:40] for _, message in TOGETHER])
def test_values_that_do_not_go_together_are_refused_with_what_to_do(values: dict[str, Any], message: str) -> None:
    assert message in refusal(values)


def test_a_service_needs_a_name_that_begins_with_a_letter() -> None:
    message = refusal({"settings": {"metricsPort": 8080}}, release="1st")
    assert "begins with a digit: set fullnameOverride" in message
