"""Pod templates of head and worker: what KubeRay turns into pods. What a user may not set is not read here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from tidemill_api import labels
from tidemill_api.job_contract import METRICS_PORT
from tidemill_operator.manifests.names import label_value
from tidemill_operator.manifests.quantities import quantity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidemill_api.v1alpha1.batch_inference_job import HeadResources, WorkerResources
    from tidemill_api.v1alpha1.pod_template import EnvVar, PodTemplate, Volume

DRAIN_SECONDS = 60
"""How long a worker that is told to go may finish its rows: no new task comes, the running ones end."""

WORKER_GRACE_SECONDS = 90
"""Longer than the drain, or the kubelet kills Ray while it drains."""

HEAD_GRACE_SECONDS = 30
"""A head ends at once: its driver cannot move to another one, so a drain would only hold the cluster's end up."""

JOB_STOP_SECONDS = 60
"""How long a stopped driver may flush its rows; Ray's own default of 3 s kills it before."""

FILE_GROUP = 1000
"""Group that mounted volumes are given to, so that a pod that is not root can write its results."""

COMMON_ENV = {
    "PYTHONSAFEPATH": "1",  # a folder named like a standard module never shadows it
    "PYTHONUNBUFFERED": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # with Ray's default of 15 its own agents go before the engine
}
HEAD_ENV = {"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0", "RAY_JOB_STOP_WAIT_TIME_S": str(JOB_STOP_SECONDS)}
WORKER_ENV = {"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": str(DRAIN_SECONDS)}

HEAD_PORTS = {"gcs": 6379, "dashboard": 8265, "client": 10001, "metrics": 8080, "job-metrics": METRICS_PORT}
WORKER_PORTS = {"metrics": 8080}

HEAD_READINESS = {
    "httpGet": {"path": "/api/healthz", "port": 52365},
    "periodSeconds": 1,
    "timeoutSeconds": 5,
    "failureThreshold": 50,
}
"""Ray's own health answer (GCS and raylet, without a token) on the node agent's default port, asked each second.

KubeRay leaves a probe that stands in the template as it is and adds the liveness probe beside it. Its own readiness
probe asks the same, but first after 10 s and then every 5 s, which each job would wait for. A ready head stays ready
for 50 s without an answer, as with KubeRay's (10 times 5 s). From initLivenessAndReadinessProbe in KubeRay 1.7's
controllers/ray/common/pod.go.
"""


class PodSettings(Protocol):
    """What the specs of both kinds say about pods."""

    @property
    def template(self) -> PodTemplate:
        """The closed list of the user's settings."""

    @property
    def resources(self) -> WorkerResources:
        """What a worker asks for."""

    @property
    def head(self) -> HeadResources:
        """What the head asks for."""


@dataclass(frozen=True)
class PodRole:
    """What tells a head from a worker: its name as role, its share of resources, ports, environment, time to end.

    `readiness` is the probe of its Ray container, empty where KubeRay's own serves. `volumes` and `mounts` are ours,
    beside those of the user.
    """

    name: str
    resources: dict[str, Any]
    ports: dict[str, int]
    env: dict[str, str]
    scheduling: dict[str, Any]
    grace_seconds: int
    readiness: dict[str, Any] = field(default_factory=dict)
    volumes: tuple[dict[str, Any], ...] = ()
    mounts: tuple[dict[str, Any], ...] = ()


def head_role(spec: PodSettings) -> PodRole:
    """The head: validates, drives and joins. It stays off the GPU nodes' selector and tolerations."""
    return PodRole("head", head_resources(spec), HEAD_PORTS, HEAD_ENV, {}, HEAD_GRACE_SECONDS, dict(HEAD_READINESS))


def worker_role(spec: PodSettings) -> PodRole:
    """A worker: one engine that uses all of its pod."""
    env = WORKER_ENV | engine_threads(spec)
    return PodRole("worker", worker_resources(spec), WORKER_PORTS, env, worker_scheduling(spec), WORKER_GRACE_SECONDS)


def engine_threads(spec: PodSettings) -> dict[str, str]:
    """How many threads an engine on the CPU computes with, and on which cores: what the user sets is left alone.

    By itself vLLM takes each core of the node that it may use but the last, and binds its threads to them: with the
    CPUs of a node shared, as they are by default, two workers would sit on the same cores while others idle. Here a
    worker computes with the cores it asks for, less one for vLLM's scheduler, which spins (as vLLM itself reserves
    one), wherever the kernel finds them.
    """
    if spec.resources.gpu:
        return {}
    threads = max(int(quantity(spec.resources.cpu)) - 1, 1)
    wanted = {"OMP_NUM_THREADS": str(threads), "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    given = {variable.name for variable in spec.template.env}
    return {name: value for name, value in wanted.items() if name not in given}


def head_resources(spec: PodSettings) -> dict[str, Any]:
    """What the head's container asks for."""
    return _resources(spec.head.cpu, spec.head.memory)


def worker_resources(spec: PodSettings) -> dict[str, Any]:
    """What a worker's container asks for, devices included."""
    resources = _resources(spec.resources.cpu, spec.resources.memory)
    if spec.resources.gpu:
        devices = {spec.resources.gpu_resource_name: str(spec.resources.gpu)}
        resources = {part: amounts | devices for part, amounts in resources.items()}
    return resources


def worker_scheduling(spec: PodSettings) -> dict[str, Any]:
    """Where workers may run."""
    scheduling: dict[str, Any] = {}
    if spec.template.node_selector:
        scheduling["nodeSelector"] = dict(spec.template.node_selector)
    if spec.template.tolerations:
        scheduling["tolerations"] = [_filled(toleration) for toleration in spec.template.tolerations]
    return scheduling


def _resources(cpu: str, memory: str) -> dict[str, Any]:
    """Memory is bounded, CPU is not: a throttled driver or engine only loses time that nobody else uses."""
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": memory}}


def pod_template(
    spec: PodSettings, ours: Mapping[str, str], image: str, role: PodRole, priority_class: str = ""
) -> dict[str, Any]:
    """The pod template of a role, with our labels over the user's."""
    template = spec.template
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": role.grace_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            "fsGroup": FILE_GROUP,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(spec, image, role)],
        **role.scheduling,
    }
    if priority_class:
        pod["priorityClassName"] = priority_class
    if template.service_account_name:
        pod["serviceAccountName"] = template.service_account_name
    if template.volumes or role.volumes:
        pod["volumes"] = [*(_volume(volume) for volume in template.volumes), *role.volumes]
    return {"metadata": {"labels": dict(template.labels) | dict(ours)}, "spec": pod}


def child_labels(owner: str, role: str = "") -> dict[str, str]:
    """Our labels on a child of the job named `owner`, with the pod's role where it is a pod."""
    ours = {labels.MANAGED_BY: labels.MANAGED_BY_VALUE, labels.JOB_NAME: label_value(owner)}
    return ours | ({labels.ROLE: role} if role else {})


def container_name(role: str) -> str:
    """The container of a `head` or `worker` pod that Ray runs in."""
    return f"ray-{role}"


def _container(spec: PodSettings, image: str, role: PodRole) -> dict[str, Any]:
    ours = [{"name": name, "value": value} for name, value in (COMMON_ENV | role.env).items()]
    container: dict[str, Any] = {
        "name": container_name(role.name),
        "image": image,
        "env": [*ours, *(_variable(variable) for variable in spec.template.env)],
        "ports": [{"name": name, "containerPort": port} for name, port in role.ports.items()],
        "resources": role.resources,
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "terminationMessagePolicy": "FallbackToLogsOnError",  # a crash loop shows its cause in the job's condition
    }
    if role.readiness:
        container["readinessProbe"] = role.readiness
    if spec.template.volume_mounts or role.mounts:
        container["volumeMounts"] = [*(_filled(mount) for mount in spec.template.volume_mounts), *role.mounts]
    return container


def _filled(part: Any) -> dict[str, Any]:
    """An API type on the wire, without what was left at its default."""
    dumped: dict[str, Any] = part.model_dump(by_alias=True, exclude_defaults=True)
    return dumped


def _variable(variable: EnvVar) -> dict[str, Any]:
    return variable.model_dump(by_alias=True, exclude_none=True)


def _volume(volume: Volume) -> dict[str, Any]:
    dumped = volume.model_dump(by_alias=True, exclude_none=True)
    if volume.persistent_volume_claim is not None and not volume.persistent_volume_claim.read_only:
        dumped["persistentVolumeClaim"].pop("readOnly")
    return dumped
