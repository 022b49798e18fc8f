"""The operator's figures about itself as Prometheus text, and the port where all of its figures are served.

Figures of one process: they begin at zero with it. What jobs and endpoints do is read from the watch cache at each
scrape instead (`collector.py`). Holds no name of an object: a counter per job would grow for ever.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics, start_http_server

from tidemill_operator.core.plan import ScaleCluster
from tidemill_operator.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tidemill_api.v1alpha1.batch_inference_job_status import Condition

# Or each counter would have a second series, of a gauge that says when it was made.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no types for it

RECONCILE_SECONDS = Histogram(
    "tidemill_operator_reconcile_seconds",
    "From the moment a look at a job or an endpoint was due (watch event received, or delay over) until it was done:"
    " its status written, found unchanged, or the look failed.",
    labelnames=("outcome",),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0, 30.0),
)

QUEUE_LENGTH = Gauge(
    "tidemill_operator_queue_length", "Jobs and endpoints that wait for a look that is due; 0 on one that stands by."
)

LEADER = Gauge(
    "tidemill_operator_leader", "1 on the operator that decides, 0 on one that stands by: one of all is to have 1."
)

DECISIONS = Counter(
    "tidemill_operator_decisions",
    "Actions carried out, scaling by its direction, with the reason of condition Progressing that they stand under.",
    labelnames=("kind", "decision", "reason"),
)

ERRORS = Counter(
    "tidemill_operator_errors",
    "Looks that failed, by the error's name (errors.py); Bug is one that nobody planned for.",
    labelnames=("error",),
)

ALERT_NOTIFICATIONS = Counter(
    "tidemill_operator_alert_notifications",
    "Notifications that the alert webhook answered, by HTTP status.",
    labelnames=("code",),
)

PROCESS_FAMILIES = (RECONCILE_SECONDS, QUEUE_LENGTH, LEADER, DECISIONS, ERRORS, ALERT_NOTIFICATIONS)

BUG = "Bug"


def count_decision(kind: str, action: object, conditions: Sequence[Condition], size_before: int) -> None:
    """Counts an action that was carried out; `size_before` is the number of workers that was wanted until now."""
    decision = type(action).__name__
    reason = next((of.reason for of in conditions if of.type == "Progressing"), "")
    if isinstance(action, ScaleCluster) and action.replicas != size_before:
        decision = "ScaleUp" if action.replicas > size_before else "ScaleDown"
    DECISIONS.labels(kind, decision, reason).inc()


@contextmanager
def served(port: int) -> Iterator[None]:
    """Serves the figures at /metrics of this port; nothing at port 0. Raises ConfigError where the port is taken."""
    if not port:
        yield
        return
    try:
        server, thread = start_http_server(port)
    except OSError as error:
        raise ConfigError(f"TIDEMILL_METRICS_PORT={port}: {error.strerror}; choose a port that is free") from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
