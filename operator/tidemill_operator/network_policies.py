"""Keeps a NetworkPolicy beside each RayCluster: made before it, made again where it is gone, mended where it differs.

Used where a RayCluster is made, and once at each look at its owner. Decides by what the watch cache holds and remembers
nothing but when to ask again for what was refused. Where the operator's setting is off, nothing of this is used, and
the operator needs no right to policies; one that was made before stays until its owner goes.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tidemill_operator.cache import Key, WatchCache, Watched, key_of, uid_of
from tidemill_operator.cluster import NETWORK_POLICIES, Cluster
from tidemill_operator.core.plan import Event
from tidemill_operator.errors import (
    ConflictError,
    KindMissingError,
    ObjectMissingError,
    PassingError,
    RejectedError,
)
from tidemill_operator.event_writer import Told, write_event
from tidemill_operator.manifests.network_policy import PolicyTerms, network_policy
from tidemill_operator.ray_clusters import is_owned
from tidemill_operator.refusals import Refusals

if TYPE_CHECKING:
    from datetime import datetime

    from tidemill_operator.config import Settings

    Json = dict[str, Any]

log = logging.getLogger(__name__)

LEAVING_SECONDS = 5.0
"""Between two looks at a policy that outlives its cluster: it stays for as long as a pod of it does."""


@dataclass(frozen=True)
class Kept:
    """What came of a look: seconds until the next one is needed, and what to tell of a refusal."""

    again: float | None = None
    problem: str = ""

    @property
    def events(self) -> tuple[Event, ...]:
        """The refusal as an Event, for people."""
        return (Event("Warning", "NetworkPolicyRefused", self.problem),) if self.problem else ()

    def sooner(self, planned: float | None) -> float | None:
        """Seconds until the next look, where another one is planned in so many."""
        return min((wait for wait in (self.again, planned) if wait is not None), default=None)


def terms_of(settings: Settings) -> PolicyTerms | None:
    """The terms that the operator's settings give; None where it is to keep no policies."""
    if not settings.network_policies:
        return None
    pairs = (pair.partition("=") for pair in settings.operator_selector)
    return PolicyTerms(
        operator_namespace=settings.operator_namespace,
        operator_labels=tuple((key, value) for key, _, value in pairs),
        metrics_namespaces=settings.metrics_namespaces,
        client_namespaces=settings.client_namespaces,
        restricted_egress=settings.network_policy_egress == "Restricted",
    )


class Owner(Told, Protocol):
    """A job or an endpoint."""

    @property
    def deleting(self) -> bool:
        """Whether somebody has deleted it."""


class NetworkPolicies:
    """The policies of the owners of one kind. It keeps none where the settings say so."""

    def __init__(self, cluster: Cluster, cache: WatchCache, settings: Settings) -> None:
        self._cluster = cluster
        self._cache = cache
        self._kind = cache.owner_kind
        self._terms = terms_of(settings)
        self._refusals = Refusals()

    async def before(self, cluster: Json) -> None:
        """The policy of a RayCluster that is about to be made: no pod of it is ever without.

        Raises RejectedError where it may not stand, PassingError to be tried again.
        """
        if self._terms is not None:
            await self._make(network_policy(cluster, self._terms))

    async def _make(self, wanted: Json) -> None:
        try:
            self._cache.put(Watched.POLICIES, await self._cluster.create(NETWORK_POLICIES, wanted))
        except ConflictError:
            await self._set_right(await self._in_the_way(*_parts(key_of(wanted))), wanted)
        except KindMissingError as error:
            raise RejectedError(f"the API server has no NetworkPolicy ({error})") from error

    async def _in_the_way(self, namespace: str, name: str) -> Json:
        """What has this name already. Raises ConflictError where it went since."""
        try:
            return await self._cluster.get(NETWORK_POLICIES, namespace, name)
        except ObjectMissingError as error:
            raise ConflictError(f"NetworkPolicy {namespace}/{name} stood in the way and is gone") from error

    async def look_after(self, key: Key, owner: Owner, now: datetime) -> Kept:
        """Keeps the owner's policies, and tells it of a refusal. Raises PassingError to be tried again."""
        kept = await self.keep(key, owner.uid) if not owner.deleting else Kept()
        for problem in kept.events:
            await write_event(self._cluster, owner, problem, now, once=True, kind=self._kind)
        return kept

    async def look_after_all_the_same(self, key: Key, owner: Owner, now: datetime) -> None:
        """The same after something else failed, which is what is told: pods must not be without their policy."""
        try:
            await self.look_after(key, owner, now)
        except PassingError as error:
            log.warning("the NetworkPolicies are not looked after either: %s", error, extra={"key": str(key)})

    async def keep(self, owner: Key, uid: str) -> Kept:
        """Compares what stands with what should, for each RayCluster of the owner with this uid.

        Children of another one, which had this name before, are the garbage collector's.

        A policy stays until the pods of its cluster have gone. Raises PassingError to be tried again; what is refused
        holds nothing else up and is asked again with back-off.
        """
        if self._terms is None:
            return Kept()
        standing = {key_of(policy): policy for policy in self._cache.policies_of(owner) if is_owned(policy, uid)}
        found = (body for body in self._cache.clusters_of(owner) if is_owned(body, uid))
        clusters = {key_of(body): body for body in found if not _leaves(body)}
        if not standing and not clusters:
            return Kept()
        if self._refusals.waiting(owner):
            return Kept()
        try:
            for key, body in clusters.items():
                await self._keep_one(standing.get(key), network_policy(body, self._terms))
            left = [policy for key, policy in standing.items() if key not in clusters and not _leaves(policy)]
            staying = [await self._stays(policy) for policy in left]
        except RejectedError as error:
            message = f"The API server refuses a NetworkPolicy of {owner}: {error}"
            self._refusals.refused(owner, message)
            return Kept(problem=message)
        self._refusals.forget(owner)
        return Kept(LEAVING_SECONDS if any(staying) else None)

    async def _keep_one(self, standing: Json | None, wanted: Json) -> None:
        if standing is None:
            await self._make(wanted)
        elif not _leaves(standing):
            await self._set_right(standing, wanted)

    async def _stays(self, policy: Json) -> bool:
        """Whether the policy of a cluster that is gone has pods to protect; where it has none, it goes."""
        key = key_of(policy)
        if self._cache.cluster(*_parts(key)) is not None or self._cache.pods(*_parts(key)):
            return True
        await self._cluster.delete(NETWORK_POLICIES, key.namespace, key.name, uid_of(policy))
        self._cache.drop(Watched.POLICIES, key)
        return False

    async def _set_right(self, standing: Json, wanted: Json) -> None:
        """Writes over what differs. Raises RejectedError for a policy of somebody else."""
        metadata, namespace, name = standing["metadata"], *_parts(key_of(wanted))
        if not is_owned(standing, wanted["metadata"]["ownerReferences"][0]["uid"]):
            message = f"a NetworkPolicy named {name} stands in the namespace and is not this cluster's; delete it"
            raise RejectedError(message)
        labels_right = wanted["metadata"]["labels"].items() <= (metadata.get("labels") or {}).items()
        if standing["spec"] == wanted["spec"] and labels_right:
            self._cache.put(Watched.POLICIES, standing)
            return
        log.info("NetworkPolicy %s/%s differs and is set right", namespace, name)
        change = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
            {"op": "add", "path": "/metadata/labels", "value": wanted["metadata"]["labels"]},
            {"op": "replace", "path": "/spec", "value": wanted["spec"]},
        ]
        try:
            written = await self._cluster.patch(NETWORK_POLICIES, namespace, name, change)
        except ObjectMissingError as error:
            self._cache.drop(Watched.POLICIES, key_of(wanted))
            raise ConflictError(f"NetworkPolicy {namespace}/{name} is gone") from error
        self._cache.put(Watched.POLICIES, written)


def _parts(key: Key) -> tuple[str, str]:
    return key.namespace, key.name


def _leaves(body: Json) -> bool:
    return "deletionTimestamp" in body["metadata"]
