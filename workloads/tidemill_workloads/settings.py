"""The job that the operator put into the environment: read once, by the validating process and by the driver."""

from __future__ import annotations

import os

from pydantic import ValidationError

from tidemill_api.job_contract import CONFIG_VARIABLE, JobConfig


def read_config() -> JobConfig:
    """The job in the environment. Raises SystemExit with what is wrong: only the operator writes this variable."""
    text = os.environ.get(CONFIG_VARIABLE)
    if text is None:
        raise SystemExit(f"the environment variable {CONFIG_VARIABLE} is not set: the operator sets it on submission")
    try:
        return JobConfig.model_validate_json(text)
    except ValidationError as error:
        raise SystemExit(f"the environment variable {CONFIG_VARIABLE} is not a job: {error}") from None
