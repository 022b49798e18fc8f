"""The driver's live figures, read from Prometheus text. Pure; says what is missing instead of reading it as zero."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, cast, get_args

from prometheus_client.parser import text_string_to_metric_families

from tidemill_api import job_contract as contract
from tidemill_operator.core.snapshot import DriverMetrics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from prometheus_client.samples import Sample


def read_metrics(text: str, job: str, attempt: int) -> tuple[DriverMetrics | None, str]:
    """The figures of this attempt of this job (`namespace/name`), or None and why there are none.

    Samples of other attempts are never read, nor those of another job's driver: the address of a head that is gone
    may be another head's by now.
    """
    try:
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    except ValueError as error:
        return None, f"they are not Prometheus text ({error})."
    ours: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        if (sample.labels.get("job"), sample.labels.get("attempt")) == (job, str(attempt)):
            ours[sample.name].append(sample)
    phase = next((s.labels.get("phase", "") for s in ours[contract.METRIC_PHASE] if s.value == 1), "")
    if phase not in get_args(contract.Phase):
        return None, f"attempt {attempt} has published none yet."
    try:
        return _figures(cast("contract.Phase", phase), ours), ""
    except (ValueError, OverflowError) as error:
        return None, f"one of them is not a number of rows or tokens ({error})."


def _figures(phase: contract.Phase, ours: Mapping[str, list[Sample]]) -> DriverMetrics:
    """Raises ValueError for NaN and OverflowError for an infinity: no count is either."""
    in_flight: dict[str, int] = defaultdict(int)
    for sample in ours.get(contract.METRIC_ROWS_IN_FLIGHT, ()):
        if (rows := int(sample.value)) > 0:
            in_flight[sample.labels.get("node", "")] += rows

    def figure(name: str) -> int | None:
        samples = ours.get(name)
        return int(samples[0].value) if samples else None

    return DriverMetrics(
        phase=phase,
        rows_total=figure(contract.METRIC_ROWS_TOTAL),
        rows_validated=figure(contract.METRIC_ROWS_VALIDATED) or 0,
        rows_completed=figure(contract.METRIC_ROWS_COMPLETED),
        rows_failed=figure(contract.METRIC_ROWS_FAILED) or 0,
        rows_per_worker=figure(contract.METRIC_ROWS_PER_WORKER),
        rows_per_second=_rate(ours.get(contract.METRIC_ROWS_PER_SECOND, ())),
        in_flight=dict(in_flight),
        prompt_tokens=figure(contract.METRIC_PROMPT_TOKENS),
        completion_tokens=figure(contract.METRIC_COMPLETION_TOKENS),
    )


def _rate(samples: Sequence[Sample]) -> float | None:
    """Rows a second where that is a positive number. Only a forecast is made of it: another value is none, no fault."""
    value = samples[0].value if samples else 0.0
    return value if 0.0 < value < math.inf else None
