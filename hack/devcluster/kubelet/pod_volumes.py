"""All volumes of one Pod: made before a container starts, and brought up to date while containers run."""

import asyncio
import contextlib
import time
from collections.abc import Iterable

import aiohttp

from devcluster.client import ApiError
from devcluster.kubelet import volumes
from devcluster.kubelet.context import PodContext
from devcluster.kubelet.environment import ConfigError, PodFacts, Reference
from devcluster.kubelet.tokens import TokenKey, Tokens, wanted

GATHER_SECONDS = 0.5
"""Several changes of Secrets and ConfigMaps that come together are shown together."""
RETRY_SECONDS = 10.0
"""A token that could not be renewed is asked for again after this."""


class PodVolumes:
    """The volumes of one Pod. Containers that start at the same time wait for each other here."""

    def __init__(self, context: PodContext) -> None:
        self._context = context
        self._lock = asyncio.Lock()
        self._tokens = Tokens(context.lookup.token)

    async def make(self, needed: Iterable[Reference]) -> PodFacts:
        """Make what is missing; returns the facts for resolving a container that needs these references too.

        Raises `ConfigError` naming the volume, or OSError.
        """
        context = self._context
        spoken = context.pod["spec"].get("volumes") or []
        references = {*needed, *volumes.references(spoken)}
        data = await context.lookup.data(context.sandbox.namespace, references)
        async with self._lock:
            facts = context.facts(data, await self._ask_for_tokens())
            await asyncio.to_thread(self._make, facts)
        return facts

    async def _ask_for_tokens(self) -> dict[TokenKey, bytes]:
        pod = self._context.pod
        try:
            return await self._tokens.get(pod, pod["spec"].get("volumes") or [])
        except (ApiError, aiohttp.ClientError, TimeoutError) as error:
            told = f"MountVolume.SetUp failed: failed to fetch token: {error}"
            raise ConfigError(told, reason="ContainerCreating") from error

    def _make(self, facts: PodFacts) -> None:
        sandbox, pod = self._context.sandbox, self._context.pod
        claims = self._context.settings.state / "volumes" / sandbox.namespace
        for volume in pod["spec"].get("volumes") or []:
            try:
                volumes.make_volume(volume, sandbox.volumes / volume["name"], claims, pod, facts)
            except ConfigError as error:
                told = f"MountVolume.SetUp failed for volume {volume['name']!r}: {error}"
                raise ConfigError(told, reason=error.reason) from error

    async def keep_up_to_date(self) -> None:
        """Show changed Secrets and ConfigMaps and fresh tokens, for ever; what vanished keeps its last content.

        What changed before this began, while no kubelet ran, is shown first.
        """
        spoken = self._context.pod["spec"].get("volumes") or []
        if not list(volumes.references(spoken)) and not list(wanted(spoken)):
            return
        with self._context.lookup.changes() as changed:
            changed.set()
            while True:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), self._seconds_to_renewal())
                await asyncio.sleep(GATHER_SECONDS)
                changed.clear()
                with contextlib.suppress(ConfigError, OSError):  # told, with an event, when a container starts
                    await self.make(())

    def _seconds_to_renewal(self) -> float | None:
        due = self._tokens.next_renewal()
        return None if due is None else max(due - time.time(), RETRY_SECONDS)
