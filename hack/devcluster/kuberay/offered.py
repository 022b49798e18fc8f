"""What real KubeRay does and this stand-in does not: refused by name, never ignored.

Pure. The event tells the user that the limit is the development cluster's, not their spec's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from devcluster.kuberay import constants as c
from devcluster.kuberay.validation import SPEC, Violation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from devcluster.kuberay.constants import Manifest


def not_offered(cluster: Manifest) -> Violation | None:
    """A violation that lists every option the stand-in lacks, or None."""
    fields = list(_fields(cluster))
    if not fields:
        return None
    message = (
        f"The development cluster's stand-in for KubeRay does not offer {', '.join(fields)}: "
        "remove it here, or use a cluster with KubeRay itself"
    )
    return Violation(SPEC, message)


def _fields(cluster: Manifest) -> Iterator[str]:
    spec = cluster["spec"]
    if spec.get("enableInTreeAutoscaling"):
        yield "spec.enableInTreeAutoscaling"
    annotations = cluster["metadata"].get("annotations") or {}
    if annotations.get(c.ANNOTATION_FAULT_TOLERANCE, "").lower() == "true":
        yield f"the annotation {c.ANNOTATION_FAULT_TOLERANCE}"
    if spec["headGroupSpec"].get("enableIngress"):
        yield "spec.headGroupSpec.enableIngress"
    if (spec.get("authOptions") or {}).get("enableK8sTokenAuth"):
        yield "spec.authOptions.enableK8sTokenAuth"
    if (cluster["metadata"].get("labels") or {}).get(c.LABEL_ORIGIN_KIND) in {"RayJob", "RayService"}:
        yield f"the label {c.LABEL_ORIGIN_KIND} of RayJob and RayService"
    for index, group in enumerate(spec.get("workerGroupSpecs") or []):
        if group.get("numOfHosts", 1) > 1:
            yield f"spec.workerGroupSpecs[{index}].numOfHosts above 1"
