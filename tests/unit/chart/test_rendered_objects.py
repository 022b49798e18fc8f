"""Whatever the values, each object is one that Kubernetes takes, and each pod one that `restricted` admits.

Objects are judged by Kubernetes' own published schemas, at the oldest version that the chart supports and at the newest
known; those of the Prometheus operator by the part of its definitions that the chart uses, written down here.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
from rendered_chart import KUBERAY, Manifest, documents, text
from restricted_pods import breaches

LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")

SWITCHES: dict[str, list[dict[str, Any]]] = {
    "replicas": [{}, {"replicas": 1}],
    "image": [{}, {"image": {"repository": "r.example.com:5000/ml/op", "digest": "sha256:" + "a" * 64}}],
    "names": [{}, {"nameOverride": "n" * 63}, {"fullnameOverride": "f" * 53}],
    "registry": [{}, {"imagePullSecrets": [{"name": "my.registry"}]}],
    "scope": [{}, {"watchNamespaces": ["team-a", "123", "true"]}],
    "crds": [{}, {"crds": {"keep": False}}, {"crds": {"install": False}}],
    "ports": [
        {},
        {
            "settings": {"metricsPort": 8080, "metricsNamespaces": ["123"]},
            "monitoring": {"monitors": True, "rules": True, "labels": {"release": "1"}},
        },
        {"settings": {"metricsPort": 8080, "alertsPort": 9095}, "alertWebhook": {"credentialsSecret": "alerts"}},
    ],
    "dashboards": [{}, {"monitoring": {"dashboards": True}}],
    "policy": [
        {},
        {"networkPolicy": {"create": False}},
        {"networkPolicy": {"restrictEgress": True, "alertsNamespaces": ["no"]}},
    ],
    "classes": [
        {},
        {"priorityClasses": {"create": False}},
        {"priorityClasses": {"realtime": 1000000000, "batch": -10}},
    ],
    "rbac": [{}, {"rbac": {"create": False}}, {"rbac": {"aggregateToDefaultRoles": False}}],
    "account": [{}, {"serviceAccount": {"create": False, "name": "given"}}],
    "budget": [{}, {"podDisruptionBudget": {"create": False}}],
    "variables": [{}, {"extraEnv": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}],
    "placement": [
        {},
        {
            "nodeSelector": {"kubernetes.io/arch": "amd64", "spot": "false"},
            "tolerations": [{"key": "infra", "operator": "Exists", "effect": "NoSchedule"}],
            "affinity": {"podAntiAffinity": {}},
            "priorityClassName": "system-cluster-critical",
            "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}],
            "podLabels": {"team": "1"},
            "podAnnotations": {"sidecar.istio.io/inject": "false"},
        },
    ],
}
RELEASES = ["tide", "123", "true", "a.b", "1e6", "x" * 53]


@dataclass(frozen=True)
class Case:
    """A release, and which choice it takes of each switch."""

    release: str
    choices: tuple[int, ...]
    kubernetes: str

    @property
    def values(self) -> Manifest:
        """All of them together; no two switches set the same leaf."""
        found: Manifest = {}
        for switch, choice in zip(SWITCHES.values(), self.choices, strict=True):
            for name, value in switch[choice].items():
                found[name] = {**found.get(name, {}), **value} if isinstance(value, dict) else value
        return found


def cases() -> list[Case]:
    """The defaults, then choices at random, the same every time, under releases of every shape."""
    choose = random.Random(6)
    found = [Case("tide", (0,) * len(SWITCHES), "1.30")]
    for number in range(18):
        choices = tuple(choose.randrange(len(switch)) for switch in SWITCHES.values())
        release = RELEASES[number % len(RELEASES)]
        has_service = choices[list(SWITCHES).index("ports")] > 0  # whose name has to begin with a letter
        found.append(Case(f"t{release[1:]}" if has_service else release, choices, ("1.37", "1.30")[number % 2]))
    return found


CASES = cases()


@pytest.fixture(scope="module", params=CASES, ids=[f"{number}-{case.release[:8]}" for number, case in enumerate(CASES)])
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


@pytest.fixture(scope="module")
def rendered(case: Case) -> list[Manifest]:
    return documents(text(case.values, case.release, "123", *KUBERAY))


def test_the_cases_try_every_choice() -> None:
    for number, (name, switch) in enumerate(SWITCHES.items()):
        assert {case.choices[number] for case in CASES} == set(range(len(switch))), name


def test_kubernetes_takes_every_object(rendered: list[Manifest], case: Case) -> None:
    for manifest in rendered:
        if manifest["apiVersion"].startswith("monitoring.coreos.com/"):
            jsonschema.validate(manifest["spec"], MONITORING[manifest["kind"]])
            continue
        kubernetes_validate.validate(manifest, case.kubernetes, strict=True)


def test_every_pod_is_restricted_bounded_and_writes_nowhere_else(rendered: list[Manifest]) -> None:
    pods = [
        m["spec"]["template"]["spec"] if m["kind"] == "Deployment" else m["spec"]
        for m in of_kinds(rendered, "Deployment", "Pod")
    ]
    assert len(pods) == 2
    for spec in pods:
        assert breaches(spec) == []
        for container in spec["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]
        assert all("sizeLimit" in volume["emptyDir"] for volume in spec["volumes"] if "emptyDir" in volume)


def test_no_two_objects_have_one_name_and_every_name_is_lawful(rendered: list[Manifest]) -> None:
    ids = Counter((m["kind"], m["metadata"].get("namespace"), m["metadata"]["name"]) for m in rendered)
    assert [name for name, times in ids.items() if times > 1] == []
    for manifest in rendered:
        name = manifest["metadata"]["name"]
        assert isinstance(name, str)
        longest = 63 if manifest["kind"] in {"Service", "Pod", "Deployment"} else 253
        assert len(name) <= longest
        if manifest["kind"] != "CustomResourceDefinition":
            assert "." not in name, "a Service may not be called so"
            assert not name.endswith("-")


def test_every_label_and_variable_is_a_text(rendered: list[Manifest]) -> None:
    for manifest in rendered:
        assert all(LABEL_VALUE.fullmatch(value) for value in manifest["metadata"].get("labels", {}).values())
        assert all(isinstance(value, str) for value in manifest["metadata"].get("annotations", {}).values())
    deployment = of_kinds(rendered, "Deployment")[0]
    variables = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    assert all(isinstance(variable.get("value", ""), str) for variable in variables)
    names = Counter(variable["name"] for variable in variables)
    assert [name for name, times in names.items() if times > 1] == []


def test_selectors_find_the_operators_pods_and_not_the_check(rendered: list[Manifest]) -> None:
    deployment = of_kinds(rendered, "Deployment")[0]["spec"]
    chosen = deployment["selector"]["matchLabels"]
    pod = deployment["template"]["metadata"]["labels"]
    check = of_kinds(rendered, "Pod")[0]["metadata"]["labels"]
    assert not chosen.items() <= check.items()
    assert not {key for key in chosen if key in {"app.kubernetes.io/version", "helm.sh/chart"}}, "it can never change"
    selectors = [
        *[m["spec"]["selector"] for m in of_kinds(rendered, "Service")],
        *[m["spec"]["selector"]["matchLabels"] for m in of_kinds(rendered, "PodDisruptionBudget")],
        *[m["spec"]["podSelector"]["matchLabels"] for m in of_kinds(rendered, "NetworkPolicy")],
    ]
    assert all(selector.items() <= pod.items() for selector in selectors)
    told = {v["name"]: v.get("value") for v in deployment["template"]["spec"]["containers"][0]["env"]}
    assert dict(label.split("=") for label in told["TIDEMILL_OPERATOR_SELECTOR"].split(",")).items() <= pod.items()


def of_kinds(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
SELECTOR = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "matchLabels": TEXTS,
        "matchExpressions": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["key", "operator"],
                "properties": {
                    "key": {"type": "string"},
                    "operator": {"enum": ["In", "NotIn", "Exists", "DoesNotExist"]},
                },
            },
        },
    },
}
ENDPOINTS = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "additionalProperties": False,
        "required": ["port"],
        "properties": {
            "port": {"type": "string"},
            "interval": {"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"},
            "honorLabels": {"type": "boolean"},
        },
    },
}
NAMESPACES = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"any": {"type": "boolean"}, "matchNames": {"type": "array", "items": {"type": "string"}}},
}


def monitor(endpoints: str) -> Manifest:
    properties = {"selector": SELECTOR, "namespaceSelector": NAMESPACES, endpoints: ENDPOINTS}
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["selector", endpoints],
        "properties": properties,
    }


MONITORING = {
    "ServiceMonitor": monitor("endpoints"),
    "PodMonitor": monitor("podMetricsEndpoints"),
    "PrometheusRule": {
        "type": "object",
        "additionalProperties": False,
        "required": ["groups"],
        "properties": {
            "groups": {
                "type": "array",
                "items": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["name", "rules"],
                    "properties": {
                        "name": {"type": "string"},
                        "rules": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "additionalProperties": False,
                                "required": ["alert", "expr"],
                                "properties": {
                                    "alert": {"type": "string"},
                                    "expr": {"type": "string"},
                                    "for": {"type": "string"},
                                    "keep_firing_for": {"type": "string"},
                                    "labels": TEXTS,
                                    "annotations": TEXTS,
                                },
                            },
                        },
                    },
                },
            }
        },
    },
}
