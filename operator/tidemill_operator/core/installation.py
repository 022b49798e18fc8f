"""What is right and wrong with an installation, judged by what the API server said: lines for a person. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    Json = dict[str, Any]

MOST_DIFFERENCES = 3
"""Of a schema that are named: one is enough to see that it is of another version."""

KUBERAY_FIELDS = (
    "rayVersion",
    "authOptions.mode",
    "authOptions.secretName",
    "gcsFaultToleranceOptions.redisAddress",
    "workerGroupSpecs.scaleStrategy.workersToDelete",
)
"""What we write into a RayCluster and an old KubeRay does not know: its API server would drop it without a word."""

PATIENCE_SECONDS = 120.0
"""After which a RayCluster without a status is one that nobody looks at."""

INSTALL_KUBERAY = "install KubeRay 1.6 or newer (chart kuberay-operator), its CRDs with it"
UPGRADE_CRDS = "helm upgrade the chart with crds.install=true, or kubectl apply --server-side -f crds/"


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, whether it is well, and what is or what to do."""

    about: str
    well: bool
    text: str

    def __str__(self) -> str:
        return f"{'ok   ' if self.well else 'WRONG'}  {self.about}: {self.text}"


def judge_definition(wanted: Json, standing: Json | None) -> Finding:
    """One of our CRDs, beside the one that this operator would install."""
    about = f"CRD {wanted['metadata']['name']}"
    if standing is None:
        return Finding(about, False, f"it is not installed; {UPGRADE_CRDS}")
    if not established(standing):
        return Finding(about, False, "it is not established; kubectl describe it: its conditions say why")
    (ours,) = wanted["spec"]["versions"]
    theirs = next((of for of in standing["spec"]["versions"] if of["name"] == ours["name"]), None)
    if theirs is None or not theirs.get("served"):
        return Finding(about, False, f"it does not serve {ours['name']}; {UPGRADE_CRDS}")
    found = list(islice(differences(ours["schema"], theirs.get("schema") or {}), MOST_DIFFERENCES))
    if found:
        text = f"its schema is not of this operator's version (differs at {', '.join(found)}); {UPGRADE_CRDS}"
        return Finding(about, False, text)
    return Finding(about, True, f"{ours['name']} is served, of this operator's version")


@dataclass(frozen=True)
class Seen:
    """What KubeRay's operator did, which runs elsewhere under rights of its own: our RayClusters and their pods."""

    now: datetime
    clusters: tuple[Json, ...] = ()
    pods: tuple[Json, ...] = ()


def judge_kuberay(standing: Json | None, seen: Seen) -> Finding:
    """KubeRay's CRD, and its operator as far as it shows in what it did."""
    about = "KubeRay"
    if standing is None:
        text = f"it is not installed: the API server does not know RayCluster (ray.io/v1); {INSTALL_KUBERAY}"
        return Finding(about, False, text)
    served = next((of for of in standing["spec"]["versions"] if of["name"] == "v1" and of.get("served")), None)
    if served is None or not established(standing):
        return Finding(about, False, f"RayCluster is not served as ray.io/v1; {INSTALL_KUBERAY}")
    spec = served["schema"]["openAPIV3Schema"].get("properties", {}).get("spec", {})
    missing = [path for path in KUBERAY_FIELDS if not knows(spec, path)]
    if missing:
        return Finding(about, False, f"its RayCluster has no {', '.join(missing)}: it is too old; {INSTALL_KUBERAY}")
    left = unattended(seen)
    if left:
        text = f"nobody acts on RayCluster {left[0]} ({len(left)} in all): its operator does not run, or not there"
        return Finding(about, False, f"{text}; look at its Deployment and the namespaces that it watches")
    version = kuberay_version(seen.pods)
    by = f"; its operator is {version}" if version else ""
    return Finding(about, True, f"RayCluster (ray.io/v1) is served and has every field that is used{by}")


def unattended(seen: Seen) -> tuple[str, ...]:
    """The RayClusters that KubeRay's operator has not looked at, though it had time to."""
    return tuple(
        f"{of['metadata'].get('namespace', '')}/{of['metadata']['name']}"
        for of in seen.clusters
        if not of.get("status")
        and (seen.now - datetime.fromisoformat(of["metadata"]["creationTimestamp"])).total_seconds() > PATIENCE_SECONDS
    )


def kuberay_version(pods: tuple[Json, ...]) -> str:
    """As KubeRay writes it into its pods (`kuberay_version=v1.7.0;...`), of the youngest; empty where there is none."""
    youngest = sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), reverse=True)
    told = (
        variable.get("value") or ""
        for pod in youngest
        for container in pod["spec"]["containers"]
        for variable in container.get("env") or ()
        if variable["name"] == "RAY_USAGE_STATS_EXTRA_TAGS"
    )
    tags = (tag.partition("=") for text in told for tag in text.split(";"))
    return next((value for name, _, value in tags if name == "kuberay_version"), "")


def established(definition: Json) -> bool:
    """Whether the API server serves the kind by now."""
    conditions = (definition.get("status") or {}).get("conditions") or ()
    return any(of["type"] == "Established" and of["status"] == "True" for of in conditions)


def knows(schema: Json, path: str) -> bool:
    """Whether a schema keeps this field, `a.b`; an array is looked into."""
    for name in path.split("."):
        inside = schema.get("items", schema)
        if inside.get("x-kubernetes-preserve-unknown-fields"):
            return True
        if name not in inside.get("properties", {}):
            return False
        schema = inside["properties"][name]
    return True


def differences(ours: object, theirs: object, path: str = "") -> Iterator[str]:
    """Where two values differ. What is empty or false counts as absent: an API server may leave it out."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted(ours.keys() | theirs.keys()):
            yield from differences(ours.get(key), theirs.get(key), f"{path}.{key}".lstrip("."))
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(one, other, f"{path}[{number}]")
    elif ours != theirs and (ours or theirs):
        yield path
