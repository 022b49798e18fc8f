"""Cluster addresses of Services: given from one range, and kept for the life of the Service.

Two dev clusters may share one machine, which can lead an address one way only. So each begins at a place of its
own in the range, drawn from what tells it from others, and they hardly ever give the same address.
`devcluster.services` makes the addresses work.
"""

import ipaddress
import zlib
from collections.abc import Collection

from devcluster.apiserver.errors import Cause
from devcluster.apiserver.objects import JsonObject

_RANGE = ipaddress.ip_network("10.96.0.0/12")
# 10.96.0.1 is the address of the API server itself in a real cluster.
_FIRST = 10


def assign_address(service: JsonObject, used: Collection[str], identity: str) -> None:
    """Give a Service its `clusterIP` where its type has one and it has none yet. Changes it in place.

    `used` are the addresses of the other Services, `identity` any text that is this cluster's own.
    """
    spec = service["spec"]
    if spec.get("type") == "ExternalName":
        return
    if not spec.get("clusterIP"):
        count = _RANGE.num_addresses - 1 - _FIRST
        begin = zlib.crc32(identity.encode())
        free = (str(_RANGE[_FIRST + (begin + step) % count]) for step in range(count))
        spec["clusterIP"] = next(address for address in free if address not in used)
    spec["clusterIPs"] = [spec["clusterIP"]]
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")


def address_causes(service: JsonObject, used: Collection[str]) -> list[Cause]:
    """What is wrong with the address that a Service names, if it names one; `used` are those of the others."""
    asked = service["spec"].get("clusterIP")
    if not asked or asked == "None":
        return []
    try:
        inside = ipaddress.IPv4Address(asked) in _RANGE
    except ValueError:
        inside = False
    if inside and asked not in used:
        return []
    why = (
        "provided IP is already allocated"
        if inside
        else f"the provided IP ({asked}) is not in the valid range. The range of valid IPs is {_RANGE}"
    )
    message = f'Invalid value: ["{asked}"]: failed to allocate IP {asked}: {why}'
    return [Cause("FieldValueInvalid", "spec.clusterIPs", message)]


def address_changes(new: JsonObject, old: JsonObject) -> list[Cause]:
    """Refuse another address for a Service that has one."""
    before, after = old["spec"].get("clusterIP"), new["spec"].get("clusterIP")
    if not before or before == after or new["spec"].get("type") == "ExternalName":
        return []
    message = f'Invalid value: ["{after}"]: may not change once set'
    return [Cause("FieldValueInvalid", "spec.clusterIPs[0]", message)]
