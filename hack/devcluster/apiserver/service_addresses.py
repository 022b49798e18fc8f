"""Cluster addresses of Services: the first free one of a range, kept for the life of the Service.

Nothing routes these addresses in the dev cluster (the kubelet leads names straight to pods), but clients expect them.
"""

import ipaddress
from collections.abc import Iterable

from devcluster.apiserver.objects import JsonObject
from devcluster.apiserver.store import Entry

_RANGE = ipaddress.ip_network("10.96.0.0/16")
# 10.96.0.1 is the address of the API server itself in a real cluster.
_FIRST = 10


def assign_address(service: JsonObject, others: Iterable[Entry]) -> None:
    """Give a Service its `clusterIP` where its type has one and it has none yet. Changes it in place."""
    spec = service["spec"]
    if spec.get("type") == "ExternalName":
        return
    if not spec.get("clusterIP"):
        used = {entry.document.get("spec", {}).get("clusterIP") for entry in others}
        free = (str(_RANGE[index]) for index in range(_FIRST, _RANGE.num_addresses - 1))
        spec["clusterIP"] = next(address for address in free if address not in used)
    spec["clusterIPs"] = [spec["clusterIP"]]
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
