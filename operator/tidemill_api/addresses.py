"""Addresses at which clouds give machines inside their secrets: one list, for all who must not be led there.

Used by the NetworkPolicies of restricted egress, by what the operator takes for a pod's address and by what a job may
read over HTTP. Knows no name and asks nobody.
"""

from __future__ import annotations

import ipaddress

METADATA_4 = (
    "169.254.0.0/16",  # link-local: most clouds
    "100.100.100.200/32",  # Alibaba's
    "168.63.129.16/32",  # Azure's host agent, a public address that answers machines inside only
    "192.0.0.192/32",  # Oracle's
)
METADATA_6 = (
    "fe80::/10",  # link-local
    "fd00:ec2::/32",  # Amazon's, in a private range
    "fd20:ce::/32",  # Google's
)

_NETWORKS = tuple(ipaddress.ip_network(network) for network in (*METADATA_4, *METADATA_6))


def is_metadata_service(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether a cloud may keep its secrets there. An IPv4 address that one of IPv6 carries is the caller's to find."""
    return any(address in network for network in _NETWORKS if network.version == address.version)
