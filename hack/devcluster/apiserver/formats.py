"""String formats that schemas name, as far as Kubernetes checks them.

Unknown formats are not checked, as in k8s.io/apiextensions-apiserver/pkg/apiserver/validation/formats.go.
"""

import base64
import binascii
import ipaddress
import re
import uuid
from collections.abc import Callable
from urllib.parse import urlsplit

from devcluster.apiserver.cel_rules import parse_duration
from devcluster.apiserver.objects import DNS_1123_LABEL, DNS_1123_SUBDOMAIN, parse_time
from devcluster.apiserver.quantities import parse_quantity

_EMAIL = re.compile(r"^[^@\s]+@[^@\s]+$")
_DATE = re.compile(r"^\d{4}-\d\d-\d\d$")


def _holds(parse: Callable[[str], object]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            parse(text)
        except ValueError:
            return False
        return True

    return check


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except binascii.Error:
        return False
    return True


_CHECKS: dict[str, Callable[[str], bool]] = {
    "date-time": lambda text: "T" in text and parse_time(text) is not None,
    "date": lambda text: bool(_DATE.match(text)),
    "duration": lambda text: parse_duration(text) is not None,
    "uri": lambda text: bool(urlsplit(text).scheme or text.startswith("/")),
    "email": lambda text: bool(_EMAIL.match(text)),
    "ipv4": _holds(ipaddress.IPv4Address),
    "ipv6": _holds(ipaddress.IPv6Address),
    "cidr": _holds(ipaddress.ip_interface),
    "uuid": _holds(uuid.UUID),
    "byte": _is_base64,
    "hostname": lambda text: bool(DNS_1123_SUBDOMAIN.match(text.lower())),
    "k8s-short-name": lambda text: bool(DNS_1123_LABEL.match(text)) and len(text) <= 63,
    "k8s-long-name": lambda text: bool(DNS_1123_SUBDOMAIN.match(text)) and len(text) <= 253,
    "quantity": lambda text: parse_quantity(text) is not None,
}


def has_format(text: str, name: str) -> bool:
    """Tell whether a string has a format; true for formats that are not checked."""
    check = _CHECKS.get(name)
    return check is None or check(text)
