"""What pods answer over HTTP, taken with care: they run images of their users, and the operator stands near the API.

Used by `ray_api.py` and `serve_api.py`. An address is a pod's or none at all, a redirect is never followed (it could
lead the operator to a metadata service or to the API server), nothing is unpacked and nothing is read past its bound.
"""

from __future__ import annotations

import ipaddress
import json
from typing import TYPE_CHECKING, Any

import aiohttp

from tidemill_api.addresses import is_metadata_service
from tidemill_operator.errors import RayUnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ANSWER_BYTES = 4 * 2**20
"""Of Ray's and Serve's own answers: what Serve says of a thousand replicas is below 1 MiB."""

FIGURES_BYTES = 2**19
"""Of a page of figures: a driver's of a thousand workers is about 100 KB. Reading one holds all others up: for half a
second at this size, were each of its lines a figure."""

REPLICA_BYTES = 2**16
"""Of a page of figures of an endpoint's replica, which each look asks many for: one with the longest names, and with
requests that ended in forty ways, has 46 KB."""

PIECE_BYTES = 64 * 1024


def session(timeout: aiohttp.ClientTimeout) -> aiohttp.ClientSession:
    """A session that asks for plain answers and unpacks none: a small packed one can be a huge one."""
    return aiohttp.ClientSession(timeout=timeout, auto_decompress=False, headers={"Accept-Encoding": "identity"})


def origin(ip: str, port: int) -> str:
    """`http://ip:port` of a pod. Raises RayUnavailableError for what is no address that a pod could have.

    Who may write a RayCluster's status, or answers as Serve, says where a pod is: a host name with a path in it would
    be another URL, and at some addresses clouds keep the credentials of their machines.
    """
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        address = None
    if address is None or "%" in ip or not _may_be_a_pods(address):
        raise RayUnavailableError(f"{ip[:100]!r} is not the address of a pod")
    return f"http://[{ip}]:{port}" if address.version == 6 else f"http://{ip}:{port}"


def _may_be_a_pods(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """None that is special, nor one of version 4 that is written as one of version 6, of which Python says nothing."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return False
    return not (is_metadata_service(address) or address.is_multicast or address.is_unspecified)


async def pieces(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The body piece by piece, as it is."""
    async for piece in response.content.iter_chunked(PIECE_BYTES):
        yield piece


async def text_of(response: aiohttp.ClientResponse, most: int) -> str:
    """The body as text. Raises RayUnavailableError where it is longer than `most` bytes; the rest is not read."""
    body = bytearray()
    async for piece in pieces(response):
        body += piece
        if len(body) > most:
            response.close()
            raise RayUnavailableError(f"the answer of {response.url.host} is longer than {most} bytes")
    return body.decode(errors="replace")


def json_of(text: str) -> Any:
    """The JSON in an answer, None where there is none: nesting without end is no JSON of Ray's either."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
