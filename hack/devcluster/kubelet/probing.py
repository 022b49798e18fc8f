"""Asks a running container's probes again and again, shows the verdicts, and says when it must die."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp

from devcluster.kubelet.context import PodContext
from devcluster.kubelet.probes import Tally, ask, http_get
from devcluster.kubelet.process import ContainerProcess

Object = Mapping[str, Any]

HOOK_SECONDS = 3600.0
"""A hook may last as long as the grace period, which ends it from outside."""


class Show(Protocol):
    """Shows what the probes say in the Pod's status."""

    def __call__(self, *, ready: bool = ..., started: bool = ...) -> None:
        """Any of the two."""


@dataclass(frozen=True)
class Verdict:
    """A container must die: what it did, and its own grace period in seconds if the probe names one."""

    what: str
    grace: float | None = None


class Probing:
    """The probes of one running container. One without a readiness probe is ready when it has started."""

    def __init__(self, context: PodContext, spec: Object, process: ContainerProcess, show: Show) -> None:
        self._context = context
        self._spec = spec
        self._process = process
        self._show = show

    async def until_it_must_die(self) -> Verdict:
        """Probe for ever; returns when the startup or the liveness probe has failed, or a postStart hook."""
        hook = (self._spec.get("lifecycle") or {}).get("postStart")
        if hook and not await run_hook(hook, self._spec, self._context, self._process, "PostStart"):
            return Verdict("failed its postStart hook")
        if "startupProbe" in self._spec and not await self._startup():
            return self._verdict("startupProbe", "failed startup probe")
        self._show(started=True, ready="readinessProbe" not in self._spec)
        async with asyncio.TaskGroup() as group:
            readiness = group.create_task(self._readiness())
            await self._liveness()
            readiness.cancel()
        return self._verdict("livenessProbe", "failed liveness probe")

    def _verdict(self, probe: str, what: str) -> Verdict:
        return Verdict(what, self._spec[probe].get("terminationGracePeriodSeconds"))

    async def _startup(self) -> bool:
        probe = self._spec["startupProbe"]
        tally = Tally.of(probe)
        await asyncio.sleep(float(probe.get("initialDelaySeconds") or 0))
        while tally.passing is None:
            tally = await self._ask("Startup", probe, tally)
            if tally.passing is None:
                await asyncio.sleep(_period(probe))
        return tally.passing

    async def _readiness(self) -> None:
        probe = self._spec.get("readinessProbe")
        if probe is None:
            return
        tally = Tally.of(probe)
        await asyncio.sleep(float(probe.get("initialDelaySeconds") or 0))
        while True:
            before = tally.passing
            tally = await self._ask("Readiness", probe, tally)
            if tally.passing != before:
                self._show(ready=bool(tally.passing))
            await asyncio.sleep(_period(probe))

    async def _liveness(self) -> None:
        """Return when the liveness probe has failed; wait for ever without one."""
        probe = self._spec.get("livenessProbe")
        if probe is None:
            await asyncio.Event().wait()
            return
        tally = Tally.of(probe)
        await asyncio.sleep(float(probe.get("initialDelaySeconds") or 0))
        while tally.passing is not False:
            tally = await self._ask("Liveness", probe, tally)
            if tally.passing is not False:
                await asyncio.sleep(_period(probe))

    async def _ask(self, name: str, probe: Object, tally: Tally) -> Tally:
        success, message = await ask(probe, self._spec, self._context.sandbox.address, self._process.execute)
        if not success:
            self._context.tell("Warning", "Unhealthy", f"{name} probe failed: {message}", self._spec["name"])
        return tally.observe(success=success)


def _period(probe: Object) -> float:
    return float(probe.get("periodSeconds") or 10)


async def run_hook(hook: Object, spec: Object, context: PodContext, process: ContainerProcess, name: str) -> bool:
    """Run a lifecycle hook (exec, httpGet or sleep) to its end; a failure is told as an event."""
    try:
        if "exec" in hook:
            success, message = await process.execute(list(hook["exec"].get("command") or []), HOOK_SECONDS)
        elif "httpGet" in hook:
            address = context.sandbox.address
            success, message = await http_get(hook["httpGet"], spec, address, HOOK_SECONDS)
        elif "sleep" in hook:
            await asyncio.sleep(float(hook["sleep"]["seconds"]))
            success, message = True, ""
        else:
            success, message = False, f"{sorted(hook)} is not offered by the dev cluster"
    except (OSError, ValueError, aiohttp.ClientError) as error:
        success, message = False, str(error)
    if not success:
        context.tell("Warning", f"Failed{name}Hook", f"{name}Hook failed: {message}", spec["name"])
    return success
