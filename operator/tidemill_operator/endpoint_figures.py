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
READ = (*INGRESS_GAUGES, *ENGINE_GAUGES, contract.METRIC_REQUESTS)
"""All that is parsed: every endpoint is looked at each second, and histograms are long."""

MOST_PARSED = 2**15
"""Characters. Of the longest page that a replica writes, 15,000 are parsed; at this bound it takes some 20 ms, in which
nobody else is looked at."""

ANSWERED, UNANSWERED = "answered", "unanswered"
"""Under what names the requests that ended are summed."""

OF_THE_LOAD = frozenset({"408", "429", "499"})
"""Client errors that say something of the load: waited too long, turned away, given up. The others are the caller's own
mistakes, found before any work."""


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
    answered, unanswered = int(values.get(ANSWERED, 0)), int(values.get(UNANSWERED, 0))
    return IngressSample(replica, asked, int(waiting), int(running), oldest, answered, unanswered)


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
    """The replica and its gauges by name, and its ended requests by how they ended.

    NaN, infinities and what is below zero are no counts and no ages.
    """
    values: dict[str, float] = {}
    replica = ""
    asked_for = "\n".join(line for line in text.splitlines() if any(name in line for name in READ))
    if len(asked_for) > MOST_PARSED:
        return None
    try:
        for family in text_string_to_metric_families(asked_for):
            for sample in family.samples:
                ours = (sample.labels.get("endpoint"), sample.labels.get("revision")) == (endpoint, revision)
                if not ours or not 0 <= sample.value < math.inf:
                    continue
                if family.type == "gauge":
                    replica = sample.labels.get("replica", "")
                    values[sample.name] = sample.value
                elif ended := _ended(sample.name, sample.labels.get("code", "")):
                    values[ended] = values.get(ended, 0.0) + sample.value
    except ValueError:
        return None
    return (replica, values) if values and replica else None


def _ended(name: str, code: str) -> str:
    """How the requests of a counter's code ended; empty for what is no such counter and says nothing of the load."""
    if name != contract.METRIC_REQUESTS:
        return ""
    if code.startswith("2"):
        return ANSWERED
    return UNANSWERED if code in OF_THE_LOAD or code.startswith("5") else ""
