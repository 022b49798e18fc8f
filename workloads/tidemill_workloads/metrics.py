"""What the operator scrapes: gauges on the head's metrics port, labelled with job and attempt.

The validating process and the driver serve the same page in turn. A port that is still taken (an earlier attempt on
its way out) is waited for in the background: figures must never cost a job its rows.
"""

from __future__ import annotations

import errno
import logging
import threading
import time
from typing import TYPE_CHECKING, get_args

from prometheus_client import CollectorRegistry, Gauge, start_http_server

from tidemill_api import job_contract as contract

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidemill_api.job_contract import JobConfig, Phase

log = logging.getLogger(__name__)

LABELS = ("job", "attempt")
PORT_RETRY_SECONDS = 2.0


class LiveMetrics:
    """The gauges of one attempt. A gauge is absent until it is known."""

    def __init__(self, config: JobConfig) -> None:
        self.registry = CollectorRegistry()
        self._labels = {"job": f"{config.namespace}/{config.name}", "attempt": str(config.attempt)}
        self._port = config.metrics_port
        self._gauges: dict[str, Gauge] = {}
        self._nodes: set[str] = set()
        self.port = 0

    def serve(self) -> None:
        """Starts to answer /metrics; `port` says where, once the port is ours."""
        if not self._listen():
            log.warning("metrics port %d is taken; waiting for it in the background", self._port)
            threading.Thread(target=self._keep_trying, name="metrics-port", daemon=True).start()

    def phase(self, phase: Phase) -> None:
        """What the attempt is doing now."""
        for name in get_args(contract.Phase):
            self._set(contract.METRIC_PHASE, float(name == phase), phase=name)

    def validated(self, rows: int) -> None:
        """Rows read by the validating pass so far."""
        self._set(contract.METRIC_ROWS_VALIDATED, rows)

    def known(self, rows: int, rows_per_worker: int) -> None:
        """Rows of the input, and rows that one worker holds when it is full. Said after `answered`, never before."""
        self._set(contract.METRIC_ROWS_TOTAL, rows)
        self._set(contract.METRIC_ROWS_PER_WORKER, rows_per_worker)

    def answered(self, completed: int, failed: int, prompt_tokens: int, completion_tokens: int) -> None:
        """Rows and tokens that stand in the output folder."""
        self._set(contract.METRIC_ROWS_COMPLETED, completed)
        self._set(contract.METRIC_ROWS_FAILED, failed)
        self._set(contract.METRIC_PROMPT_TOKENS, prompt_tokens)
        self._set(contract.METRIC_COMPLETION_TOKENS, completion_tokens)

    def rate(self, rows_per_second: float | None) -> None:
        """Rows answered a second over the last minute of work; absent until it is known."""
        if rows_per_second is not None:
            self._set(contract.METRIC_ROWS_PER_SECOND, rows_per_second)

    def in_flight(self, by_node: Mapping[str, int]) -> None:
        """Rows handed to engines, by the node's address; a node that is gone is shown no more."""
        for node, rows in by_node.items():
            self._set(contract.METRIC_ROWS_IN_FLIGHT, rows, node=node)
        for node in self._nodes - by_node.keys():
            gauge = self._gauges[contract.METRIC_ROWS_IN_FLIGHT]
            gauge.remove(*self._labels.values(), node)
        self._nodes = set(by_node)

    def _set(self, name: str, value: float, **more: str) -> None:
        gauge = self._gauges.get(name)
        if gauge is None:
            gauge = Gauge(name, name.replace("_", " "), (*LABELS, *more), registry=self.registry)
            self._gauges[name] = gauge
        gauge.labels(**self._labels, **more).set(value)

    def _listen(self) -> bool:
        try:
            server, _ = start_http_server(self._port, "0.0.0.0", self.registry)  # noqa: S104 - the operator is elsewhere
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
        self.port = server.server_port
        log.info("metrics on port %d", self.port)
        return True

    def _keep_trying(self) -> None:
        while not self._listen():
            time.sleep(PORT_RETRY_SECONDS)
