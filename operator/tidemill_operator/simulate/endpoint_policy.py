"""The operator's own law of endpoints under virtual time: `core.endpoint.law` with the trace's requests as its load."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tidemill_operator.core.endpoint.law import Law, Memory, Size, next_size
from tidemill_operator.core.endpoint.load import Load

if TYPE_CHECKING:
    from tidemill_operator.simulate.policy import EndpointView, Seen
    from tidemill_operator.simulate.trace import Endpoint

EPOCH = datetime(2026, 1, 5, tzinfo=UTC)
"""The start of a trace: a Monday's midnight."""

STABILIZATION = timedelta(seconds=300)
TO_ZERO_AFTER = timedelta(seconds=600)
"""Both as the API's defaults."""


class EndpointSizes:
    """The replicas wanted of each endpoint; what the status remembers of the past is kept here."""

    def __init__(self) -> None:
        self._memories: dict[str, Memory] = {}

    def decide(self, seen: Seen) -> dict[str, int]:
        """The size of every endpoint for its load now, before the share-out."""
        return {endpoint.spec.name: self._size(endpoint, seen.now) for endpoint in seen.endpoints}

    def _size(self, view: EndpointView, seconds: float) -> int:
        now = EPOCH + timedelta(seconds=seconds)
        load = Load(
            waiting=round(view.waiting),
            running=round(view.running),
            oldest_seconds=seconds - view.oldest if view.oldest is not None else 0.0,
            oldest_arrival=EPOCH + timedelta(seconds=view.oldest) if view.oldest is not None else None,
            complete=True,
            time=now,
        )
        memory = self._memories.get(view.spec.name, Memory())
        if view.last_start is not None:
            memory = replace(memory, last_start=EPOCH + timedelta(seconds=math.floor(view.last_start)))
        sized = next_size(load, Size(view.wanted, view.answering), _law(view.spec), memory, now)
        self._memories[view.spec.name] = sized.memory
        return sized.replicas


def _law(spec: Endpoint) -> Law:
    return Law(
        least=spec.min_replicas,
        most=spec.max_replicas,
        target_depth=spec.target_depth,
        target_age_seconds=spec.target_age,
        stabilization=STABILIZATION,
        to_zero_after=TO_ZERO_AFTER,
    )
