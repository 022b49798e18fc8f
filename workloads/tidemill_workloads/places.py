"""From a `JobConfig` to opened places, in the order in which a user's mistakes are best told.

Shared by the validating process and the driver, which opens them anew: only the attempt's number passes between them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from tidemill_api.job_contract import CONFIG_VARIABLE, JobConfig
from tidemill_workloads.locations import open_input, open_output

if TYPE_CHECKING:
    from tidemill_workloads.local_storage import LocalFolder, LocalInput


@dataclass(frozen=True, slots=True)
class Places:
    """Where a job reads and writes."""

    source: LocalInput
    folder: LocalFolder


def read_config() -> JobConfig:
    """The job in the environment. Raises SystemExit with what is wrong: only the operator writes this variable."""
    text = os.environ.get(CONFIG_VARIABLE)
    if text is None:
        raise SystemExit(f"the environment variable {CONFIG_VARIABLE} is not set: the operator sets it on submission")
    try:
        return JobConfig.model_validate_json(text)
    except ValidationError as error:
        raise SystemExit(f"the environment variable {CONFIG_VARIABLE} is not a job: {error}") from None


def open_places(config: JobConfig) -> Places:
    """Input and output of the job. Raises JobRefused."""
    return Places(open_input(config.input_uri, config.mounts), open_output(config.output_uri, config.mounts))
