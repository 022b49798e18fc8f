"""What the driver is told of its job: the same for every attempt but for its number and purpose. Holds no secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill_api.job_contract import JobConfig

if TYPE_CHECKING:
    from tidemill_operator.core.plan import SubmitDriver
    from tidemill_operator.core.snapshot import JobView


def job_config(job: JobView, submit: SubmitDriver, allow_loopback_input: bool = False) -> JobConfig:
    """The driver's configuration for this attempt. Raises ValueError where the spec could not be read."""
    spec = job.spec
    if spec is None:
        raise ValueError(f"the driver of {job.namespace}/{job.name} needs a spec that can be read")
    output = spec.output.uri
    return JobConfig(
        namespace=job.namespace,
        name=job.name,
        attempt=submit.attempt,
        model=spec.model,
        input_uri=spec.input.uri,
        output_uri=output if output.endswith("/") else f"{output}/",
        workers_max=spec.workers.max,
        gpus_per_worker=spec.resources.gpu,
        mounts=tuple(mount.mount_path for mount in spec.template.volume_mounts),
        ending=submit.ending,
        on_invalid=spec.input.on_invalid,
        max_attempts=spec.retry.max_attempts,
        retry_backoff_seconds=spec.retry.backoff_seconds,
        max_failed_rows=spec.max_failed_rows,
        allow_loopback_input=allow_loopback_input,
        resubmit_of_uri=submit.resubmit_of_uri,
    )
