"""What a spec may be made of in all: sizes that only the sum of its fields can break, and text that no pod can hold.

Each field has its own bound in the CRD. What stands here would pass there and then fail where nobody looks: in etcd, in
the kernel that starts a process, in a container runtime.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidemill_api.v1alpha1.batch_inference_job import BatchInferenceJobSpec
    from tidemill_api.v1alpha1.pod_template import PodTemplate

NUL = "\0"
A_NUL = "a NUL character in it, which no path and no variable may have; remove it"

MAX_ENV_BYTES = 2**18
"""Of all values together: they stand in the RayCluster once for the head and once for the workers, and an object of
more than 1.5 MiB is refused by etcd, which the API server reports as a fault that might pass."""

MAX_TOLD_BYTES = 120_000
"""Of what the driver is told in one variable: Linux starts no process with one of 128 KiB (MAX_ARG_STRLEN)."""


def template_limit_problems(template: PodTemplate) -> Iterator[str]:
    """What of a template no pod can hold."""
    values = {variable.name: variable.value or "" for variable in template.env}
    if (size := sum(map(_bytes, values.values()))) > MAX_ENV_BYTES:
        yield (
            f"template.env: its values have {size} bytes in all, more than {MAX_ENV_BYTES}; mount a configMap as files"
            " instead"
        )
    for name, value in values.items():
        if NUL in value:
            yield f"template.env: the value of {name} has {A_NUL}"
    for mount in template.volume_mounts:
        if NUL in mount.mount_path + mount.sub_path:
            yield f"template.volumeMounts: {mount.mount_path!r} has {A_NUL}"


def job_limit_problems(spec: BatchInferenceJobSpec) -> Iterator[str]:
    """The driver gets model, mounts and URIs in one environment variable; only adapters can make that long."""
    size = _bytes(spec.model.model_dump_json()) + sum(_bytes(mount.mount_path) for mount in spec.template.volume_mounts)
    if size > MAX_TOLD_BYTES:
        yield f"model.adapters: names and sources have {size} bytes in all, more than {MAX_TOLD_BYTES}; shorten them"


def _bytes(text: str) -> int:
    return len(text.encode(errors="replace"))
