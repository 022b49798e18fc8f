"""Every right that the operator needs, and for what: `check.py` asks for each, and the chart's roles are tested by it.

One table beside the code that needs it, `cluster.py` and Kopf's watches. What is not in it, the operator never asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tidemill_operator.config import Settings


class Where(StrEnum):
    """Where a right has to hold."""

    WATCHED = auto()  # each namespace whose jobs and endpoints are run; all of them where none is named
    CLUSTER = auto()
    LEASE = auto()  # the one Lease, in the operator's own namespace


@dataclass(frozen=True)
class Right:
    """Verbs on a resource `plural` or `plural/subresource`, and what they are for."""

    group: str
    resource: str
    verbs: tuple[str, ...]
    purpose: str
    where: Where = Where.WATCHED


OURS = "tidemill.dev"

ALWAYS = (
    Right(OURS, "batchinferencejobs", ("get", "list", "watch"), "to see jobs"),
    Right(OURS, "batchinferencejobs", ("delete",), "to delete jobs after spec.ttlSecondsAfterFinished"),
    Right(OURS, "batchinferencejobs/status", ("patch",), "to say how a job is"),
    Right(OURS, "realtimeendpoints", ("get", "list", "watch"), "to see endpoints"),
    Right(OURS, "realtimeendpoints/status", ("patch",), "to say how an endpoint is"),
    Right("ray.io", "rayclusters", ("get", "list", "watch"), "to see the Ray clusters of jobs and endpoints"),
    Right("ray.io", "rayclusters", ("create", "patch", "delete"), "to make, scale and remove them"),
    Right("", "pods", ("list", "watch"), "to read addresses and readiness"),
    Right("", "secrets", ("get", "create", "patch", "delete"), "for the token of each Ray cluster"),
    Right("", "services", ("get", "list", "watch", "create", "patch"), "for the Service of each endpoint"),
    Right("", "events", ("get", "create", "patch"), "to tell people what happens"),
    Right("", "resourcequotas", ("list",), "to share out the GPUs of a quota"),
    Right(
        "apiextensions.k8s.io",
        "customresourcedefinitions",
        ("get", "list", "watch"),
        "to see a CRD that is installed later",
        Where.CLUSTER,
    ),
)

BOOSTS = (
    Right(OURS, "batchinferencejobs", ("patch",), "to write the boost that an alert asks for"),
    Right(OURS, "realtimeendpoints", ("patch",), "to write the boost that an alert asks for"),
)

POLICIES = Right(
    "networking.k8s.io",
    "networkpolicies",
    ("get", "list", "watch", "create", "patch", "delete"),
    "for the NetworkPolicy of each Ray cluster",
)

ELECTION = Right("coordination.k8s.io", "leases", ("get", "update"), "to elect one of several operators", Where.LEASE)

NAMESPACES = Right("", "namespaces", ("list", "watch"), "to see a watched namespace come or go", Where.CLUSTER)


def rights(settings: Settings, namespaces: tuple[str, ...]) -> tuple[Right, ...]:
    """The rights that an operator with these settings and watched namespaces (none: all) needs."""
    return (
        *ALWAYS,
        *(BOOSTS if settings.alerts_port else ()),
        *((POLICIES,) if settings.network_policies else ()),
        *((ELECTION,) if settings.lease_name else ()),
        *((NAMESPACES,) if namespaces else ()),
    )
