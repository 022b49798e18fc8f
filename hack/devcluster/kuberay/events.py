"""Events on a RayCluster, as `kubectl describe` shows them.

An equal event counts up the first one instead of piling up: its name is made from what it says.
"""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from devcluster.client import EVENTS, AlreadyExists, ApiError
from devcluster.kuberay import constants as c
from devcluster.kuberay import naming

if TYPE_CHECKING:
    from devcluster.client import Client
    from devcluster.kuberay.constants import Manifest
    from devcluster.kuberay.steps import Announce
    from devcluster.kuberay.validation import Violation

logger = logging.getLogger(__name__)


class Recorder:
    """Writes events. An event that cannot be written is logged and lost: it never stops the work."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._warned: dict[str, int] = {}

    async def announce(self, cluster: Manifest, event: Announce, name: str, cause: str = "") -> None:
        """An event about the object `name` (namespace/name); `cause` is added to the message."""
        message = event.message.replace("{name}", name) + (f", {cause}" if cause else "")
        kind = "Warning" if event.warning else "Normal"
        await self._write(cluster, _event(cluster, kind, event.reason, message, event.action))

    async def warn_once(self, cluster: Manifest, violation: Violation) -> None:
        """A warning, once for each generation of the cluster."""
        uid, generation = cluster["metadata"]["uid"], cluster["metadata"].get("generation", 0)
        if self._warned.get(uid) == generation:
            return
        self._warned[uid] = generation
        logger.warning("%s", violation.message)
        await self._write(cluster, _event(cluster, "Warning", violation.reason, violation.message, "Validate"))

    async def _write(self, cluster: Manifest, event: Manifest) -> None:
        namespace = naming.namespace_of(cluster)
        try:
            try:
                await self._client.create(EVENTS, namespace, event)
            except AlreadyExists:
                name = event["metadata"]["name"]
                count = int((await self._client.get(EVENTS, namespace, name)).get("count") or 1)
                again = {"count": count + 1, "lastTimestamp": event["lastTimestamp"]}
                await self._client.patch(EVENTS, namespace, name, again)
        except ApiError as error:
            logger.warning("event %s of %s not written: %s", event["reason"], cluster["metadata"]["name"], error)


def _event(cluster: Manifest, kind: str, reason: str, message: str, action: str) -> Manifest:
    metadata = cluster["metadata"]
    namespace = naming.namespace_of(cluster)
    digest = hashlib.sha256(f"{metadata['uid']}/{reason}/{message}".encode()).hexdigest()[:16]
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name']}.{digest}", "namespace": namespace},
        "involvedObject": {
            "apiVersion": "ray.io/v1",
            "kind": "RayCluster",
            "name": metadata["name"],
            "namespace": namespace,
            "uid": metadata["uid"],
        },
        "type": kind,
        "reason": reason,
        "message": message[:1024],
        "action": action,
        "source": {"component": c.CONTROLLER_NAME},
        "reportingComponent": c.CONTROLLER_NAME,
        "reportingInstance": c.CONTROLLER_NAME,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
