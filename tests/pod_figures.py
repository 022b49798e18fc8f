"""Figures of replicas as the operator reads them: Prometheus text over HTTP, for tests to judge by."""

from __future__ import annotations

import urllib.request
from contextlib import suppress
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Iterable


def sums(addresses: Iterable[str]) -> dict[str, float]:
    """Each figure summed over the processes at these `host:port`; who does not answer has none.

    What has a label `code` stands under `name` and under `name{code}`, as in `tidemill_endpoint_requests_total{200}`.
    """
    found: dict[str, float] = {}
    for address in addresses:
        for name, code, value in _read(address):
            for key in {name, f"{name}{{{code}}}" if code else name}:
                found[key] = found.get(key, 0.0) + value
    return found


def _read(address: str) -> list[tuple[str, str, float]]:
    with suppress(OSError), urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return [(one.name, one.labels.get("code", ""), one.value) for family in families for one in family.samples]
    return []
