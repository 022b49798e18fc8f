"""Users and capabilities as they are declared: images, the operator's Deployment, and the pods of Ray clusters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from rendered_chart import pod, render
from restricted_pods import breaches

from devcluster.kubelet.images import images_of

ROOT = Path(__file__).parents[3]
IMAGES = images_of(ROOT)
CASES = sorted((ROOT / "tests" / "golden" / "cases").glob("*children.yaml"))


def pods(file: Path) -> dict[str, dict[str, Any]]:
    """The pod templates of the RayClusters in a golden file."""
    found = {}
    for document in yaml.load_all(file.read_text(), Loader=yaml.CSafeLoader):
        if document.get("kind") == "RayCluster":
            spec = document["spec"]
            found["head"] = spec["headGroupSpec"]["template"]["spec"]
            found |= {group["groupName"]: group["template"]["spec"] for group in spec["workerGroupSpecs"]}
    return found


def test_no_image_runs_as_root() -> None:
    assert {target: image.user for target, image in IMAGES.items()} == {
        "operator": "65532:65532",
        "workloads": "1000:1000",
    }


def test_the_operators_pod_leaves_no_door_open() -> None:
    """Restricted Pod Security and more: nothing of the container can be written, and it asks for what it needs."""
    spec = pod(render())
    assert breaches(spec) == []
    (container,) = spec["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
    assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.partition(".")[0])
def test_pods_of_ray_clusters_are_restricted_and_hold_no_token(case: Path) -> None:
    found = pods(case)
    assert len(found) >= 2
    for name, spec in found.items():
        assert breaches(spec) == [], name
        assert spec["automountServiceAccountToken"] is False, f"{name}: a cloud's identity comes by a volume of its own"
