"""The driver's live figures, read from Prometheus text. Pure; says what is missing instead of reading it as zero."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, cast, get_args

from prometheus_client.parser import text_string_to_metric_families

from tidemill_api import job_contract as contract
from tidemill_operator.core.snapshot import DriverMetrics

if TYPE_CHECKING:
    from prometheus_client.samples import Sample


def read_metrics(text: str, attempt: int) -> tuple[DriverMetrics | None, str]:
    """The figures of this attempt, or None and why there are none. Samples of other attempts are never read."""
    try:
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    except ValueError as error:
        return None, f"they are not Prometheus text ({error})."
    ours: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.labels.get("attempt") == str(attempt):
            ours[sample.name].append(sample)
    phase = next((s.labels.get("phase", "") for s in ours[contract.METRIC_PHASE] if s.value == 1), "")
    if phase not in get_args(contract.Phase):
        return None, f"attempt {attempt} has published none yet."
    in_flight: dict[str, int] = defaultdict(int)
    for sample in ours[contract.METRIC_ROWS_IN_FLIGHT]:
        if sample.value > 0:
            in_flight[sample.labels.get("node", "")] += int(sample.value)

    def figure(name: str) -> int | None:
        return int(ours[name][0].value) if ours[name] else None

    return DriverMetrics(
        phase=cast("contract.Phase", phase),
        rows_total=figure(contract.METRIC_ROWS_TOTAL),
        rows_validated=figure(contract.METRIC_ROWS_VALIDATED) or 0,
        rows_completed=figure(contract.METRIC_ROWS_COMPLETED) or 0,
        rows_failed=figure(contract.METRIC_ROWS_FAILED) or 0,
        rows_per_worker=figure(contract.METRIC_ROWS_PER_WORKER),
        in_flight=dict(in_flight),
        prompt_tokens=figure(contract.METRIC_PROMPT_TOKENS) or 0,
        completion_tokens=figure(contract.METRIC_COMPLETION_TOKENS) or 0,
    ), ""
