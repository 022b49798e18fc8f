"""What the driver is told of its job: pure, the same for every attempt but for its number. Holds no secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill_api.job_contract import JobConfig

if TYPE_CHECKING:
    from tidemill_api.v1alpha1.batch_inference_job import BatchInferenceJobSpec


def job_config(namespace: str, name: str, spec: BatchInferenceJobSpec, attempt: int) -> JobConfig:
    """The driver's configuration for this attempt."""
    output = spec.output.uri
    return JobConfig(
        namespace=namespace,
        name=name,
        attempt=attempt,
        model=spec.model,
        input_uri=spec.input.uri,
        output_uri=output if output.endswith("/") else f"{output}/",
        workers_max=spec.workers.max,
        gpus_per_worker=spec.resources.gpu,
        mounts=tuple(mount.mount_path for mount in spec.template.volume_mounts),
    )
