"""The operator's settings: one frozen object, read from the environment once, at start.

Each field's variable is `TIDEMILL_` and the field's name in capitals. Refuses to be read anywhere but at start: what
a decision needs of it is handed on as a value.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from tidemill_operator.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "TIDEMILL_"

OPERATOR_VERSION = version("tidemill")
"""The version of the distribution that is installed."""

NAME = r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?)?$"
"""The name of an object, or none."""


def _split(value: object) -> object:
    return tuple(part for part in value.replace(",", " ").split() if part) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
"""Names separated by commas or blanks."""


Pair = Annotated[str, Field(pattern=r"^[^=\s]+=[^=\s]*$")]
"""A label as a=b."""


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
    lease_name: str = Field(
        default="",
        pattern=NAME,
        description="Lease that elects one of several operators to decide; empty for one that is alone",
    )
    operator_namespace: str = Field(default="", pattern=NAME, description="Namespace of that Lease and of this pod")
    pod_name: str = Field(
        default="", pattern=NAME, description="This pod's name, by which the Lease names its holder; empty: the host's"
    )
    realtime_priority_class: str = Field(
        default="",
        pattern=NAME,
        description="PriorityClass of the pods of endpoints' new revisions; empty leaves it to Kubernetes",
    )
    batch_priority_class: str = Field(
        default="",
        pattern=NAME,
        description="PriorityClass of the pods of jobs' new clusters; empty leaves it to Kubernetes",
    )
    kueue_elastic_jobs: bool = Field(
        default=False,
        description="Whether clusters with a Kueue queue are elastic jobs, which takes Kueue's feature gate"
        " ElasticJobsViaWorkloadSlices; else they have a fixed size",
    )
    network_policies: bool = Field(
        default=False,
        description="Whether each RayCluster gets a NetworkPolicy; needs TIDEMILL_OPERATOR_NAMESPACE and"
        " TIDEMILL_OPERATOR_SELECTOR",
    )
    operator_selector: Annotated[tuple[Pair, ...], BeforeValidator(_split)] = Field(
        default=(), description="Labels a=b,c=d of the operator's pods, which NetworkPolicies let in"
    )
    metrics_namespaces: Names = Field(
        default=(), description="Namespaces whose pods may read figures of jobs and endpoints, such as Prometheus'"
    )
    client_namespaces: Names = Field(
        default=(),
        description="Namespaces whose pods may ask endpoints; none means whoever reaches them, from outside too",
    )
    network_policy_egress: Literal["Open", "Restricted"] = Field(
        default="Open",
        description="What pods of jobs and endpoints may reach: Open is everything, Restricted all but the"
        " addresses where clouds give out credentials of the node",
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
        if self.network_policies and not (self.operator_namespace and self.operator_selector):
            raise ValueError(
                "TIDEMILL_NETWORK_POLICIES needs TIDEMILL_OPERATOR_NAMESPACE and TIDEMILL_OPERATOR_SELECTOR: without"
                " them the policies would shut the operator out"
            )
        return self

    @model_validator(mode="after")
    def _lease_is_somewhere(self) -> Settings:
        if self.lease_name and not self.operator_namespace:
            raise ValueError("TIDEMILL_LEASE_NAME needs TIDEMILL_OPERATOR_NAMESPACE, the namespace of the Lease")
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
