"""The chart as the real helm renders it, and how tests look into what came out."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
CHART = ROOT / "charts" / "tidemill"
HELM = ROOT / ".tidemill" / "bin" / "helm"
GOLDEN = ROOT / "tests" / "unit" / "chart" / "default_values.golden.yaml"
KUBERAY = ("--api-versions", "ray.io/v1/RayCluster")

Manifest = dict[str, Any]


def helm(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """What helm said; `given` is its standard input."""
    assert HELM.exists(), f"{HELM} is missing: run ./hack/setup.sh"
    command = [str(HELM), *arguments]
    return subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=60)


def text(values: Manifest, release: str = "tide", namespace: str = "tidemill", *more: str) -> str:
    """What `helm template` prints with these values."""
    words = ("template", release, str(CHART), "--namespace", namespace, "--values", "-", *more)
    done = helm(*words, given=yaml.safe_dump(values))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def render(**values: Any) -> list[Manifest]:
    """Every object of release `tide` in namespace `tidemill`, the hooks included."""
    return documents(text(values))


def documents(rendered: str) -> list[Manifest]:
    """The objects in a stream of YAML."""
    return [document for document in yaml.load_all(rendered, Loader=yaml.CSafeLoader) if document]


def refusal(values: Manifest, release: str = "tide") -> str:
    """Why helm does not render these values."""
    done = helm("template", release, str(CHART), "--values", "-", given=yaml.safe_dump(values))
    assert done.returncode != 0, "it was rendered"
    return done.stderr


def one(manifests: list[Manifest], kind: str) -> Manifest:
    """The only object of a kind."""
    (found,) = [manifest for manifest in manifests if manifest["kind"] == kind]
    return found


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """The object of a kind and name."""
    (found,) = [m for m in manifests if m["kind"] == kind and m["metadata"]["name"] == name]
    return found


def granted(role: Manifest) -> dict[tuple[str, str], set[str]]:
    """Group and resource -> verbs."""
    return {
        (group, resource): set(rule["verbs"])
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def pod(manifests: list[Manifest]) -> Manifest:
    """The spec of the operator's pods."""
    spec: Manifest = one(manifests, "Deployment")["spec"]["template"]["spec"]
    return spec


def environment(manifests: list[Manifest]) -> dict[str, str]:
    """The operator's variables that have a value; those of the downward API have none before the pod runs."""
    return {
        variable["name"]: variable["value"]
        for variable in pod(manifests)["containers"][0]["env"]
        if "value" in variable
    }


def golden() -> str:
    """The default values rendered, without the CRDs, which are looked at in `crds/`."""
    return text({"crds": {"install": False}})


if __name__ == "__main__":
    GOLDEN.write_text(golden())
