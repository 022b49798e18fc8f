"""The live figures of an endpoint's replicas, read from Prometheus text. Pure; a figure that is missing is no zero."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from tidemill_api import endpoint_contract as contract
from tidemill_operator.core.endpoint.load import IngressSample
from tidemill_operator.core.endpoint.victims import EngineSample

if TYPE_CHECKING:
    from datetime import datetime


INGRESS_GAUGES = (contract.METRIC_WAITING, contract.METRIC_RUNNING, contract.METRIC_OLDEST_WAITING)
ENGINE_GAUGES = (contract.METRIC_ENGINE_READY, contract.METRIC_ENGINE_WAITING, contract.METRIC_ENGINE_RUNNING)
READ = (*INGRESS_GAUGES, *ENGINE_GAUGES)
"""The only gauges that are parsed: every endpoint is looked at each second, and histograms are long."""


def read_ingress(text: str, endpoint: str, revision: str, asked: datetime) -> IngressSample | None:
    """The sample of the ingress replica of this revision that answers there; None where another or nobody does.

    An address may be another pod's by now: figures of another endpoint or revision are not read.
    """
    found = _gauges(text, endpoint, revision)
    if found is None:
        return None
    replica, values = found
    if not all(name in values for name in INGRESS_GAUGES):
        return None
    waiting, running, oldest = (values[name] for name in INGRESS_GAUGES)
    return IngressSample(replica, asked, int(waiting), int(running), oldest)


def read_engine(text: str, endpoint: str, revision: str, asked: datetime, pod_ip: str) -> EngineSample | None:
    """The sample of the engine replica on this pod; None where none of this revision answers there."""
    found = _gauges(text, endpoint, revision)
    if found is None:
        return None
    _, values = found
    if contract.METRIC_ENGINE_READY not in values:
        return None
    waiting, running = (
        values.get(name, 0) for name in (contract.METRIC_ENGINE_WAITING, contract.METRIC_ENGINE_RUNNING)
    )
    return EngineSample(pod_ip, asked, int(waiting), int(running))


def _gauges(text: str, endpoint: str, revision: str) -> tuple[str, dict[str, float]] | None:
    """The replica and its gauges by name. NaN, infinities and what is below zero are no counts and no ages."""
    values: dict[str, float] = {}
    replica = ""
    asked_for = "\n".join(line for line in text.splitlines() if any(name in line for name in READ))
    try:
        for family in text_string_to_metric_families(asked_for):
            for sample in family.samples if family.type == "gauge" else ():
                ours = (sample.labels.get("endpoint"), sample.labels.get("revision")) == (endpoint, revision)
                if ours and 0 <= sample.value < math.inf:
                    replica = sample.labels.get("replica", "")
                    values[sample.name] = sample.value
    except ValueError:
        return None
    return (replica, values) if values and replica else None
