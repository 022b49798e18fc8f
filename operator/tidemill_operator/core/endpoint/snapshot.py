"""What a decision about an endpoint is made from: one frozen picture of it, its revisions, and what they say.

Filled by the shell, read by the rules. What could not be seen is said here as such (`serve=None` with its problem, no
sample), never as zero.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tidemill_operator.core.queueing import Queueing
from tidemill_operator.core.snapshot import Tuning

if TYPE_CHECKING:
    from datetime import datetime

    from tidemill_api.endpoint_conditions import EndpointReason
    from tidemill_api.endpoint_contract import IngressSettings
    from tidemill_api.v1alpha1.realtime_endpoint import RealtimeEndpointSpec
    from tidemill_api.v1alpha1.realtime_endpoint_status import RealtimeEndpointStatus
    from tidemill_operator.core.boost import Boost
    from tidemill_operator.core.endpoint.load import IngressSample
    from tidemill_operator.core.endpoint.victims import EngineSample
    from tidemill_operator.core.snapshot import ClusterView, WorkerPod

RUNNING = "RUNNING"
STAYING = frozenset({RUNNING, "UPDATING", "RECOVERING"})
"""States of Serve's replicas that are alive on a node that is not draining (ReplicaState in Ray 2.60)."""

DEPLOY_FAILED = "DEPLOY_FAILED"
"""Serve's word for a deployment that it has given up, and for an application that it could not build."""


@dataclass(frozen=True)
class EndpointView:
    """A RealtimeEndpoint. `spec` is None where it cannot be read; a spec that may not run has a `spec_problem` too.

    `outdated` says what of it would keep a new revision from being made, where this one was let in earlier.
    """

    namespace: str
    name: str
    uid: str
    generation: int
    created: datetime
    deleting: bool
    spec: RealtimeEndpointSpec | None
    spec_problem: str
    status: RealtimeEndpointStatus
    outdated: str = ""
    boost: Boost | None = None
    queueing: Queueing = field(default_factory=Queueing)
    held: bool = False  # deleted, and kept by a finalizer that is neither ours nor the garbage collector's
    restarted: str = ""  # what the annotation says by which users have a new revision made


@dataclass(frozen=True)
class ReplicaView:
    """One replica as Serve reports it; the address is empty until it has a node."""

    name: str
    state: str
    node_ip: str = ""


@dataclass(frozen=True)
class DeploymentView:
    """One deployment as Serve reports it."""

    target: int = 0
    replicas: tuple[ReplicaView, ...] = ()
    status: str = ""
    message: str = ""

    @property
    def running(self) -> tuple[ReplicaView, ...]:
        """Replicas that answer on nodes that stay."""
        return tuple(replica for replica in self.replicas if replica.state == RUNNING)

    @property
    def staying(self) -> int:
        """Replicas that are alive on nodes that stay."""
        return sum(replica.state in STAYING for replica in self.replicas)


@dataclass(frozen=True)
class ServeView:
    """What Serve says of our application. `deployed` False: it knows none; `built` False: it has no deployments yet."""

    deployed: bool
    built: bool = True
    failed: str = ""  # why the application could not be built
    ingress: DeploymentView = DeploymentView()
    engine: DeploymentView = DeploymentView()
    settings: IngressSettings | None = None  # as it was told last, without the attempt
    attempt: int = 0  # as it was told last
    told_time: datetime | None = None  # when it was told last, by the head's clock

    @property
    def given_up(self) -> bool:
        """Whether Serve has given up the application or one of its deployments: it tries again only when told to."""
        return bool(self.failed) or DEPLOY_FAILED in (self.engine.status, self.ingress.status)


@dataclass(frozen=True)
class RevisionView:
    """One revision: its RayCluster, its pods, its Serve and the figures of its replicas."""

    revision: str
    cluster: ClusterView | None = None
    workers: tuple[WorkerPod, ...] = ()
    serve: ServeView | None = None
    serve_problem: str = ""
    ingress_samples: tuple[IngressSample, ...] = ()
    engine_samples: tuple[EngineSample, ...] = ()


@dataclass(frozen=True)
class ServiceView:
    """The Service of the endpoint's name: the revision that it leads to; `foreign` where it is somebody else's."""

    revision: str
    foreign: bool = False


@dataclass(frozen=True)
class EndpointRejection:
    """What the API server said to what we wanted to create in this very pass."""

    reason: EndpointReason
    message: str


@dataclass(frozen=True)
class EndpointSnapshot:
    """Everything that a plan is made from, at the moment `now`.

    `wanted` is the revision of the spec, empty where it may not run; `settings` is what its ingress is to be told.
    `missing_secrets` names what the spec refers to and is not there. `pods_left`: pods of an earlier RayCluster of the
    wanted revision's name are on their way out. The refusals are what the API server said to changes of this pass.
    """

    now: datetime
    endpoint: EndpointView
    wanted: str
    settings: IngressSettings | None = None
    tuning: Tuning = field(default_factory=Tuning)
    revisions: tuple[RevisionView, ...] = ()
    service: ServiceView | None = None
    missing_secrets: tuple[str, ...] = ()
    pods_left: bool = False
    rejection: EndpointRejection | None = None
    scale_refused: str = ""
    service_refused: str = ""
    room: int | None = None  # replicas that the operator's limit of GPUs leaves it; None where there is none

    @property
    def serving(self) -> str:
        """The revision that our Service leads to, empty where there is none.

        A Service that somebody deleted led to the revision that the status names, and is to lead there again.
        """
        if self.service is not None:
            return "" if self.service.foreign else self.service.revision
        led_to = self.endpoint.status.revision.serving
        return led_to if led_to and self.revision(led_to).cluster is not None else ""

    def revision(self, name: str) -> RevisionView:
        """The revision of this name, without anything where nothing of it stands."""
        return next((view for view in self.revisions if view.revision == name), RevisionView(name))
