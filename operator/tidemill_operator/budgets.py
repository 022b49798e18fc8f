"""The GPU budget of a namespace: what its ResourceQuotas leave us, and the operator's own limit.

Quotas are listed now and then, not watched: they change rarely, and an operator whose role does not let it read them
goes on without. Refuses to share anything out: that is `sharing.py`'s.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import InvalidOperation
from typing import TYPE_CHECKING, Any

from tidemill_operator.cluster import RESOURCE_QUOTAS, Cluster
from tidemill_operator.errors import ApiUnavailableError, KindMissingError, RejectedError
from tidemill_operator.manifests.quantities import quantity

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    Json = dict[str, Any]

log = logging.getLogger(__name__)

REFRESH = timedelta(seconds=10)
"""How old a list of quotas may become before it is asked for again."""


@dataclass(frozen=True)
class _Listed:
    at: datetime
    quotas: tuple[Json, ...]


class Budgets:
    """GPUs that the jobs and endpoints of a namespace may have together."""

    def __init__(self, cluster: Cluster, limit: int) -> None:
        self._cluster = cluster
        self._limit = limit
        self._listed: dict[str, _Listed] = {}
        self._first: dict[str, asyncio.Lock] = {}
        self._forbidden: set[str] = set()

    async def budget(self, namespace: str, resource: str, ours: Callable[[], float], now: datetime) -> float | None:
        """The GPUs of this resource that are for us, of which we have `ours`; None where nothing limits them.

        `ours` is counted only where a quota asks for it.
        """
        of_resource = [quota for quota in await self._quotas(namespace, now) if _limits(quota, resource)]
        limits = [float(self._limit)] if self._limit else []
        used = ours() if of_resource else 0.0
        lefts = [left_of(quota, resource, used) for quota in of_resource]
        return min([*limits, *(left for left in lefts if left is not None)], default=None)

    async def _quotas(self, namespace: str, now: datetime) -> tuple[Json, ...]:
        """What was listed lately. Looks of several moments ask, so one that began earlier asks for nothing new."""
        known = self._listed.get(namespace)
        if known is not None:
            if abs(now - known.at) < REFRESH:
                return known.quotas
            self._listed[namespace] = replace(known, at=now)  # one look asks, the others go on with what is known
            return await self._list(namespace, now, known.quotas)
        async with self._first.setdefault(namespace, asyncio.Lock()):  # nothing is known: all wait for the one answer
            known = self._listed.get(namespace)
            return known.quotas if known is not None else await self._list(namespace, now, ())

    async def _list(self, namespace: str, now: datetime, quotas: tuple[Json, ...]) -> tuple[Json, ...]:
        """Lists them, or keeps these. That the operator may not is said once, until it may again."""
        try:
            quotas = tuple([body async for body in self._cluster.list_all(RESOURCE_QUOTAS, namespace)])
            self._forbidden.discard(namespace)
        except (ApiUnavailableError, KindMissingError) as error:
            log.warning("cannot list the ResourceQuotas of %s: %s", namespace, error)
        except RejectedError as error:
            if namespace not in self._forbidden:
                log.warning("may not list the ResourceQuotas of %s, their GPUs are not counted: %s", namespace, error)
            self._forbidden.add(namespace)
        self._listed[namespace] = _Listed(now, quotas)
        return quotas


def _limits(quota: Json, resource: str) -> bool:
    return f"requests.{resource}" in ((quota.get("spec") or {}).get("hard") or {})


def left_of(quota: Json, resource: str, ours: float) -> float | None:
    """The GPUs of this resource that a ResourceQuota leaves us, those that we have among them; None: it sets no bound.

    A quota with scopes is about some pods only, and is left to the API server.
    """
    spec, status = quota.get("spec") or {}, quota.get("status") or {}
    hard = (spec.get("hard") or {}).get(f"requests.{resource}")
    if hard is None or spec.get("scopes") or spec.get("scopeSelector"):
        return None
    used = (status.get("used") or {}).get(f"requests.{resource}", "0")
    try:
        return max(float(quantity(str(hard))) - max(float(quantity(str(used))) - ours, 0.0), 0.0)
    except InvalidOperation:
        return None
