"""Where an `http(s)://` input may lead: checked by the addresses a name stands for, and those are then connected to.

A URL comes from whoever may create a job, the request from inside of the cluster. So a URL and each redirect may only
lead to addresses at which no cloud and no pod keeps its secrets. Private ranges (10/8, 172.16/12, 192.168/16,
100.64/10, fc00::/7) are allowed, since servers inside of the cluster are a common source. The name is resolved once
and the checked addresses are connected to, so that a second answer of the name server changes nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tidemill_api.addresses import is_metadata_service
from tidemill_workloads.errors import WorkloadError

if TYPE_CHECKING:
    from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")
TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
"""RFC 6052: the last 32 bits are an IPv4 address that a gateway connects to."""


class UrlRefused(WorkloadError):  # noqa: N818 - named for what happened, like the other errors of the workloads
    """A URL that no job may read; the message says why."""


class NameUnknown(WorkloadError):  # noqa: N818 - named for what happened, like the other errors of the workloads
    """A host whose name has no address now; it may have one later."""


@dataclass(frozen=True, slots=True)
class Target:
    """A checked URL, and the addresses that its connection may go to."""

    scheme: str
    host: str
    port: int
    path: str
    addresses: tuple[str, ...]

    @property
    def host_header(self) -> str:
        """As a client that asked by name would send it."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == DEFAULT_PORTS[self.scheme] else f"{name}:{self.port}"


DEFAULT_PORTS = {"http": 80, "https": 443}


def checked(url: str, allow_loopback: bool = False) -> Target:
    """The target of `url`. Raises UrlRefused, NameUnknown."""
    try:
        parts = urlsplit(url)
        port = parts.port
        host = (parts.hostname or "").encode("idna").decode("ascii")
    except ValueError as error:  # of which UnicodeError is one
        raise UrlRefused(f"it is not a URL ({error})") from None
    scheme = parts.scheme.lower()
    if scheme not in DEFAULT_PORTS or not host:
        raise UrlRefused("it is no http:// or https:// URL with a host")
    if parts.username is not None or parts.password is not None:
        raise UrlRefused("it holds credentials; use a presigned URL, or s3:// with credentials from a Secret")
    if any(ord(character) <= 0x20 or ord(character) == 0x7F for character in url):
        raise UrlRefused("it holds a blank or a control character")
    port = port or DEFAULT_PORTS[scheme]
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    addresses = tuple(_resolved(host, port))
    for address in addresses:
        if why := forbidden(ipaddress.ip_address(address.partition("%")[0]), allow_loopback):
            raise UrlRefused(f"its host {host} is {address}, which is {why} and never read by a job")
    return Target(scheme, host, port, path, addresses)


def forbidden(address: Address, allow_loopback: bool = False) -> str:
    """What keeps jobs from an address, in words; empty where nothing does."""
    for meant in _meant(address):
        if meant.is_loopback:
            if not allow_loopback:
                return "the pod's own (loopback)"
        elif why := _why(meant):
            return why
    return ""


def _why(address: Address) -> str:
    """First match wins."""
    if address.is_link_local:
        return "link-local, where clouds keep machine credentials"
    if is_metadata_service(address):
        return "a cloud's metadata service"
    if address.is_unspecified or (address.version == 4 and address in THIS_NETWORK):
        return "unspecified"
    if address.is_multicast:
        return "multicast"
    if address.is_reserved:
        return "reserved"
    return ""


def _meant(address: Address) -> Iterable[Address]:
    """The address and every IPv4 address that one of the ways of carrying IPv4 in IPv6 makes of it."""
    if isinstance(address, ipaddress.IPv4Address):
        return (address,)
    carried: list[Address | None] = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in TRANSLATED or (int(address) >> 32 == 0 and int(address) > 1):
        carried.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    embedded = tuple(part for part in carried if part is not None)
    return embedded if address.ipv4_mapped or address in TRANSLATED else (address, *embedded)


def _resolved(host: str, port: int) -> Iterable[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NameUnknown(f"the name {host} is not known ({error})") from None
    return dict.fromkeys(str(entry[4][0]) for entry in found)
