"""Startup, readiness and liveness probes: the counting, which is pure, and the asking.

httpGet and tcpSocket go from this machine to the pod's address, exec into the container's namespaces. gRPC
probes are refused plainly when the container is made (`unsupported`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import aiohttp

Object = Mapping[str, Any]
Execute = Callable[[list[str], float], Awaitable[tuple[bool, str]]]
"""Runs a command in the container within seconds: whether it ended with 0, and what it printed."""

LONGEST_OUTPUT = 500


@dataclass(frozen=True)
class Tally:
    """The counting of one probe: results in a row against the thresholds. `passing` is None before a verdict."""

    success_threshold: int
    failure_threshold: int
    passing: bool | None = None
    last: bool | None = None
    in_a_row: int = 0

    @classmethod
    def of(cls, probe: Object) -> "Tally":
        """A fresh count with the probe's thresholds (1 and 3 by default)."""
        return cls(int(probe.get("successThreshold") or 1), int(probe.get("failureThreshold") or 3))

    def observe(self, *, success: bool) -> "Tally":
        """The count after one more result."""
        in_a_row = self.in_a_row + 1 if success == self.last else 1
        threshold = self.success_threshold if success else self.failure_threshold
        passing = success if in_a_row >= threshold else self.passing
        return replace(self, passing=passing, last=success, in_a_row=in_a_row)


def unsupported(container: Object) -> str:
    """What is wrong with a container's probes for this kubelet; empty if nothing."""
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        probe = container.get(kind)
        if probe and not {"httpGet", "tcpSocket", "exec"} & set(probe):
            return f"{kind}: only httpGet, tcpSocket and exec are offered by the dev cluster"
    return ""


def port_of(port: int | str, container: Object) -> int:
    """The number of a port given by number or by name. Raises ValueError for a name the container lacks."""
    if str(port).isdigit():
        return int(port)
    for declared in container.get("ports") or []:
        if declared.get("name") == port:
            return int(declared["containerPort"])
    raise ValueError(f"no port named {port!r}")


async def ask(probe: Object, container: Object, address: str, execute: Execute) -> tuple[bool, str]:
    """Run a probe once: whether it succeeded, and the message for people if not."""
    seconds = float(probe.get("timeoutSeconds") or 1)
    try:
        if "exec" in probe:
            return await execute(list(probe["exec"].get("command") or []), seconds)
        if "httpGet" in probe:
            return await http_get(probe["httpGet"], container, address, seconds)
        socket = probe["tcpSocket"]
        return await _tcp(socket.get("host") or address, port_of(socket["port"], container), seconds)
    except (OSError, ValueError, TimeoutError, aiohttp.ClientError) as error:
        return False, str(error) or type(error).__name__


async def http_get(action: Object, container: Object, address: str, seconds: float) -> tuple[bool, str]:
    """One httpGet as a probe or hook: any code from 200 to 399 is a success; certificates are not verified."""
    scheme = str(action.get("scheme") or "HTTP").lower()
    host = action.get("host") or address
    url = f"{scheme}://{host}:{port_of(action['port'], container)}/{str(action.get('path') or '/').lstrip('/')}"
    headers = {"User-Agent": "kube-probe/devcluster"}
    headers |= {header["name"]: header["value"] for header in action.get("httpHeaders") or []}
    timeout = aiohttp.ClientTimeout(total=seconds)
    async with (
        aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(ssl=False)) as session,
        session.get(url, headers=headers, allow_redirects=False) as response,
    ):
        text = (await response.content.read(LONGEST_OUTPUT)).decode(errors="replace")
        success = 200 <= response.status < 400
        return success, "" if success else f"HTTP probe failed with statuscode: {response.status} {text}".strip()


async def _tcp(host: str, port: int, seconds: float) -> tuple[bool, str]:
    async with asyncio.timeout(seconds):
        _, writer = await asyncio.open_connection(host, port)
        writer.close()
        await writer.wait_closed()
    return True, ""
