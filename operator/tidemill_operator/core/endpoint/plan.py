"""The words of a plan for an endpoint: what a decision may ask the shell to do. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidemill_operator.core.plan import DeleteCluster, Event, ScaleCluster

if TYPE_CHECKING:
    from datetime import timedelta

    from tidemill_api.endpoint_contract import IngressSettings
    from tidemill_api.v1alpha1.realtime_endpoint_status import RealtimeEndpointStatus


@dataclass(frozen=True)
class CreateRevision:
    """Create the token Secret where it is missing, then the revision's RayCluster with a head and so many workers."""

    revision: str
    workers: int


@dataclass(frozen=True)
class Deploy:
    """Tell Serve what to run (PUT): the application of this revision, with these counts and settings.

    A PUT that changes anything of a deployment sets its replicas to what stands in it, so the counts are always those
    that are wanted now. Serve takes no 0: an engine that is to have none is scaled to none afterwards.
    """

    revision: str
    head_ip: str
    engine_replicas: int
    ingress_replicas: int
    settings: IngressSettings
    attempt: int


@dataclass(frozen=True)
class ScaleServe:
    """Set the replicas of one deployment over Serve's external scaler API."""

    revision: str
    head_ip: str
    deployment: str
    replicas: int


@dataclass(frozen=True)
class PointService:
    """Create the endpoint's Service, or lead it to this revision."""

    revision: str


EndpointAction = CreateRevision | DeleteCluster | ScaleCluster | Deploy | ScaleServe | PointService


@dataclass(frozen=True)
class EndpointPlan:
    """What to do now: actions in order, then one status write (where it differs), then the events."""

    status: RealtimeEndpointStatus
    actions: tuple[EndpointAction, ...] = ()
    events: tuple[Event, ...] = ()
    recheck_after: timedelta | None = None
