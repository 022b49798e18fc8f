"""What the operator reads: Prometheus text on a port of each replica's own, made when it is asked for.

A gauge is what the desk says at that moment, so it is as old as the answer. A port that is still taken (a replica on
its way out) is waited for in the background: figures must never cost a request.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from tidemill_api import endpoint_contract as contract
from tidemill_workloads.serving.openai_errors import TOO_MANY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from wsgiref.simple_server import WSGIServer

    from tidemill_api.endpoint_contract import EndpointConfig
    from tidemill_workloads.serving.desk import Desk
    from tidemill_workloads.serving.frames import Usage

log = logging.getLogger(__name__)

PORT_RETRY_SECONDS = 1.0

PORTS_VARIABLE = "TIDEMILL_TEST_PORTS_FOLDER"
"""Where several replicas share one address, as in tests on one machine: each takes any port and writes it there."""

_FIRST_TOKEN_BUCKETS = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 30, 60, 120, 300, 600)
_REQUEST_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 45, 60, 120, 300, 600, 1800)


@dataclass(frozen=True, slots=True)
class Labels:
    """What every figure of a replica carries."""

    endpoint: str
    revision: str
    replica: str

    @classmethod
    def of_this_replica(cls, config: EndpointConfig) -> Self:
        """Of the Serve replica that this process is."""
        from ray import serve

        return cls(config.endpoint, config.revision, serve.get_replica_context().replica_id.unique_id)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the labels."""
        return ("endpoint", "revision", "replica")

    @property
    def values(self) -> tuple[str, ...]:
        """Their values, in the same order."""
        return (self.endpoint, self.revision, self.replica)


class _LiveGauges(Collector):
    """A collector whose values are asked for at each scrape."""

    def __init__(self, labels: Labels, gauges: dict[str, tuple[str, Callable[[], float]]]) -> None:
        self._labels = labels
        self._gauges = gauges

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """See prometheus_client."""
        for name, (text, value) in self._gauges.items():
            family = GaugeMetricFamily(name, text, labels=self._labels.names)
            family.add_metric(self._labels.values, value())
            yield family


class MetricsPort:
    """Serves a registry's text from a thread of its own."""

    def __init__(self, port: int, registry: CollectorRegistry, name: str) -> None:
        self._port = port
        self._registry = registry
        self._name = name
        self._server: WSGIServer | None = None
        self._closed = threading.Event()

    def serve(self) -> None:
        """Starts to answer /metrics, as soon as the port is ours."""
        if not self._listen():
            log.warning("metrics port %d is taken; waiting for it in the background", self._port)
            threading.Thread(target=self._keep_trying, name="metrics-port", daemon=True).start()

    def close(self) -> None:
        """Gives the port back."""
        self._closed.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def _listen(self) -> bool:
        folder = os.environ.get(PORTS_VARIABLE)
        try:
            port = 0 if folder else self._port
            self._server, _ = start_http_server(port, "0.0.0.0", self._registry)  # noqa: S104 - the operator is elsewhere
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
        if folder:
            Path(folder, self._name).write_text(str(self._server.server_port))
        return True

    def _keep_trying(self) -> None:
        while not self._closed.is_set() and not self._listen():
            time.sleep(PORT_RETRY_SECONDS)


class EngineFigures:
    """The gauges of an engine replica."""

    def __init__(self, labels: Labels, desk: Desk) -> None:
        self.ready = False
        registry = CollectorRegistry()
        gauges: dict[str, tuple[str, Callable[[], float]]] = {
            contract.METRIC_ENGINE_READY: ("1 once the model is loaded and warm", lambda: float(self.ready)),
            contract.METRIC_ENGINE_WAITING: ("Requests here without a first token", lambda: desk.waiting),
            contract.METRIC_ENGINE_RUNNING: ("Requests here between first and last token", lambda: desk.running),
        }
        registry.register(_LiveGauges(labels, gauges))
        self._port = MetricsPort(contract.ENGINE_METRICS_PORT, registry, f"engine-{labels.replica}")

    def serve(self) -> None:
        """Starts to answer."""
        self._port.serve()

    def close(self) -> None:
        """Gives the port back."""
        self._port.close()


class IngressFigures:
    """The figures of an ingress replica."""

    def __init__(self, labels: Labels, desk: Desk, bound: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        self._labels = labels
        self._port = MetricsPort(contract.INGRESS_METRICS_PORT, self.registry, f"ingress-{labels.replica}")
        gauges: dict[str, tuple[str, Callable[[], float]]] = {
            contract.METRIC_WAITING: ("Requests without a first token, held ones included", lambda: desk.waiting),
            contract.METRIC_HELD: ("Requests that no engine has taken", lambda: desk.held),
            contract.METRIC_RUNNING: ("Requests between first and last token", lambda: desk.running),
            contract.METRIC_OLDEST_WAITING: (
                "Age of the oldest waiting request",
                lambda: desk.oldest_waiting(time.monotonic()),
            ),
            contract.METRIC_QUEUE_BOUND: ("Waiting requests above which new ones get 429", bound),
        }
        self.registry.register(_LiveGauges(labels, gauges))
        self._ended = self._counter(contract.METRIC_REQUESTS, "Requests that ended", "code")
        self._rejected = self._counter(
            contract.METRIC_REJECTED, "Requests refused with 429: too many or too large together"
        )
        self._prompt = self._counter(contract.METRIC_PROMPT_TOKENS, "Tokens of prompts")
        self._completion = self._counter(contract.METRIC_COMPLETION_TOKENS, "Tokens of answers")
        self._first = self._histogram(
            contract.METRIC_FIRST_TOKEN_SECONDS, "Arrival to first token", _FIRST_TOKEN_BUCKETS
        )
        self._whole = self._histogram(contract.METRIC_REQUEST_SECONDS, "Arrival to end", _REQUEST_BUCKETS)

    def serve(self) -> None:
        """Starts to answer."""
        self._port.serve()

    def close(self) -> None:
        """Gives the port back."""
        self._port.close()

    def refused(self, status: int) -> None:
        """The ingress refused a request by itself; what came when there was too much counts here too."""
        if status == TOO_MANY:
            self._rejected.labels(*self._labels.values).inc()

    def first_token(self, seconds: float) -> None:
        """A request has its first token, so long after its arrival."""
        self._first.labels(*self._labels.values).observe(seconds)

    def used(self, usage: Usage) -> None:
        """An answer is whole and used so many tokens."""
        self._prompt.labels(*self._labels.values).inc(usage.prompt_tokens)
        self._completion.labels(*self._labels.values).inc(usage.completion_tokens)

    def ended(self, code: int, seconds: float) -> None:
        """A request ended with an HTTP status, so long after its arrival."""
        self._ended.labels(*self._labels.values, str(code)).inc()
        self._whole.labels(*self._labels.values).observe(seconds)

    def _counter(self, name: str, text: str, *more: str) -> Counter:
        return Counter(name, text, (*self._labels.names, *more), registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, text, self._labels.names, registry=self.registry, buckets=buckets)
