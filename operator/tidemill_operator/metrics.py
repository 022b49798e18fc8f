"""The operator's own figures as Prometheus text, served on a port of their own where the settings name one.

Figures of the control plane only: what jobs do is in their status. Holds no name of a job: a label per job would grow
for ever.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import Gauge, Histogram, start_http_server

from tidemill_operator.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

RECONCILE_SECONDS = Histogram(
    "tidemill_operator_reconcile_seconds",
    "From the moment a look at a job or an endpoint was due (watch event received, or delay over) until it was done:"
    " its status written, found unchanged, or the look failed.",
    labelnames=("outcome",),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0, 30.0),
)


QUEUE_LENGTH = Gauge("tidemill_operator_queue_length", "Jobs and endpoints that wait for a look that is due.")


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
