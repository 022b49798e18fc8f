"""The operator's settings: one frozen object, read from the environment once, at start.

Each field's variable is `TIDEMILL_` and the field's name in capitals. Refuses to be read anywhere but at start: what
a decision needs of it is handed on as a value.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from tidemill_operator.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "TIDEMILL_"


def _split(value: object) -> object:
    return tuple(part for part in value.replace(",", " ").split() if part) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
"""Names separated by commas or blanks."""


class Settings(BaseModel):
    """What a platform team sets on the operator's Deployment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_cpu: str = Field(
        default="tidemill-workloads:0.1.0-cpu", min_length=1, description="Image of jobs without a GPU and no own image"
    )
    image_gpu: str = Field(
        default="tidemill-workloads:0.1.0", min_length=1, description="Image of jobs with GPUs and no own image"
    )
    ray_version: str = Field(
        default="2.60.0",
        pattern=r"^\d+\.\d+\.\d+$",
        description="Ray in the images; KubeRay picks probes and auth by it",
    )
    allow_host_path: bool = Field(default=False, description="Whether jobs may mount folders of the node")
    allow_loopback_input: bool = Field(
        default=False,
        description="Whether http(s) inputs may lead to loopback; for clusters of one machine, never in production",
    )
    allow_test_engine: bool = Field(
        default=False,
        description="Whether jobs may replace vLLM by TIDEMILL_ENGINE in template.env; for tests, never in production",
    )
    allowed_service_accounts: Names = Field(default=(), description="Service accounts that jobs may name")
    gpu_limit: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="GPUs that jobs and endpoints of one namespace may have together; 0 leaves it to ResourceQuotas",
    )
    namespaces: Names = Field(default=(), description="Namespaces to watch; none means all. Flags win")
    poll_seconds: float = Field(default=2.0, gt=0, le=60, description="Between two looks at a working driver")
    start_poll_seconds: float = Field(default=0.5, gt=0, le=60, description="The same until rows are processed")
    request_timeout_seconds: float = Field(default=5.0, gt=0, le=60, description="For one request to a head")
    backoff_min_seconds: float = Field(default=30.0, gt=0, le=3600, description="First wait for an awaited cause")
    backoff_max_seconds: float = Field(default=600.0, gt=0, le=86400, description="Longest wait for an awaited cause")
    concurrency: int = Field(default=16, ge=1, le=256, description="Objects reconciled at once")
    resync_seconds: float = Field(
        default=600.0, ge=10, le=86400, description="Between two full comparisons of the cache"
    )
    health_port: int = Field(default=8081, ge=0, le=65535, description="Port of /healthz; 0 turns it off. A flag wins")
    metrics_port: int = Field(
        default=0, ge=0, le=65535, description="Port of /metrics, the operator's own figures; 0 turns it off"
    )
    alerts_port: int = Field(
        default=0,
        ge=0,
        le=65535,
        description="Port of /alerts, which takes Alertmanager's notifications and boosts what they are about; 0 turns"
        " it off",
    )
    alerts_credentials_file: Path = Field(
        default=Path("/etc/tidemill/alerts/credentials"),
        description="File with the bearer token that Alertmanager has to send",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="Least level logged")

    @model_validator(mode="after")
    def _ordered(self) -> Settings:
        if self.backoff_min_seconds > self.backoff_max_seconds:
            raise ValueError("TIDEMILL_BACKOFF_MIN_SECONDS must not be above TIDEMILL_BACKOFF_MAX_SECONDS")
        return self

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """The settings in these variables; unset or empty ones keep their default.

        Raises ConfigError with one message that names every wrong variable and what it may hold.
        """
        names = {name: f"{PREFIX}{name.upper()}" for name in cls.model_fields}
        given = {name: environment[variable] for name, variable in names.items() if environment.get(variable)}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise ConfigError(
                "; ".join(_explain(fault["loc"], fault["msg"], given) for fault in error.errors())
            ) from error


def _explain(location: tuple[int | str, ...], message: str, given: Mapping[str, str]) -> str:
    text = message.removeprefix("Value error, ")
    if not location:
        return text
    name = str(location[0])
    return f"{PREFIX}{name.upper()}={given.get(name, '')!r}: {text} ({Settings.model_fields[name].description})"
