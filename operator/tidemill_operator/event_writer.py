"""Writes Events: the same words again raise the count of the Event that stands, they make no second one."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Any, Protocol

from tidemill_api import GROUP, VERSION
from tidemill_api.v1alpha1.batch_inference_job import KIND
from tidemill_operator.cluster import EVENTS, Cluster
from tidemill_operator.errors import ConflictError, OperatorError

if TYPE_CHECKING:
    from datetime import datetime

    from tidemill_operator.core.plan import Event

log = logging.getLogger(__name__)

COMPONENT = "tidemill-operator"
MAX_NOTE = 1024
"""Characters of an Event's message that the API server takes."""


class Told(Protocol):
    """What an Event is about."""

    @property
    def namespace(self) -> str:
        """Its namespace."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def uid(self) -> str:
        """Its uid."""


async def write_event(
    cluster: Cluster, job: Told, event: Event, now: datetime, *, once: bool = False, kind: str = KIND
) -> None:
    """Writes one Event. Events are for people: one that cannot be written is logged and never stops a reconcile.

    `once` is for what is found again at every look: the Event that stands is left as it is.
    """
    manifest = event_manifest(job, event, now, kind)
    metadata = manifest["metadata"]
    try:
        try:
            await cluster.create(EVENTS, manifest)
        except ConflictError:
            if once:
                return
            standing = await cluster.get(EVENTS, metadata["namespace"], metadata["name"])
            again = {"count": (standing.get("count") or 1) + 1, "lastTimestamp": manifest["lastTimestamp"]}
            await cluster.merge(EVENTS, metadata["namespace"], metadata["name"], again)
    except OperatorError as error:
        log.warning("event %s was not written: %s", event.reason, error, extra={"key": f"{job.namespace}/{job.name}"})


def event_manifest(job: Told, event: Event, now: datetime, kind: str = KIND) -> dict[str, Any]:
    """The Event as an object. Its name says what is the same: the object, the type, the reason and the words."""
    words = "\n".join((job.uid, event.type, event.reason, event.message))
    moment = f"{now:%Y-%m-%dT%H:%M:%SZ}"
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{job.name[:200].rstrip('-.')}.{hashlib.sha256(words.encode()).hexdigest()[:16]}",
            "namespace": job.namespace,
        },
        "involvedObject": {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": kind,
            "namespace": job.namespace,
            "name": job.name,
            "uid": job.uid,
        },
        "type": event.type,
        "reason": event.reason,
        "message": event.message[:MAX_NOTE],
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": COMPONENT,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }
