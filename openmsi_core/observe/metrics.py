"""Metrics for Prometheus, and ``/healthz`` beside them: the only door to prometheus_client.

Nothing is counted here: each scrape reads the numbers where they are, so that they cannot disagree with the summary.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import ThreadingWSGIServer

from openmsi_core.errors import SettingsError
from openmsi_core.observe.vitals import State, Vitals

log = logging.getLogger(__name__)

COUNTS = {
    "files": ("openmsi_files", "files done by a run, or acknowledged by the broker for a sender"),
    "bytes": ("openmsi_file_bytes", "bytes of those files"),
    "failed": ("openmsi_files_failed", "files that a sender could not send"),
    "records": ("openmsi_records", "records read from the topic, or acknowledged by the broker for a sender"),
    "record_bytes": ("openmsi_record_bytes", "bytes of those records"),
    "results": ("openmsi_results", "results published"),
    "letters": ("openmsi_dead_letters", "dead letters published"),
    "unchanged": ("openmsi_files_unchanged", "files that a sink had already"),
    "checkpoints": ("openmsi_checkpoints", "checkpoints written"),
    "checkpoints_failed": ("openmsi_checkpoints_failed", "checkpoints that the broker did not take"),
}
GAUGES = {
    "lag": ("openmsi_lag_records", "records of our partitions that were not read yet"),
    "partitions": ("openmsi_partitions", "partitions that are ours"),
    "open_files": ("openmsi_open_files", "files of which records are still missing"),
    "parked": ("openmsi_parked_records", "sealed records whose key has not arrived"),
    "running_files": ("openmsi_running_files", "files that are with a plugin, or are being sent"),
    "waiting_files": ("openmsi_waiting_files", "whole files that wait for their plugin, or for a checkpoint"),
    "memory": ("openmsi_waiting_bytes", "bytes in memory of what waits"),
    "pending": ("openmsi_pending_records", "records that the broker has not acknowledged yet"),
    "oldest_open": ("openmsi_oldest_open_seconds", "age of the file that waits for records longest"),
    "in_a_row": ("openmsi_letters_in_a_row", "dead letters in a row, of which `breaker` stop the run"),
}
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_AGES = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 24 * 3600.0)


class Metrics:
    """The registry of one program, fed by its `Vitals`."""

    def __init__(self, vitals: Vitals) -> None:
        self.registry = CollectorRegistry()
        self._vitals = vitals
        who = vitals.who
        self._labels = {"program": who.program, "name": who.name, "topic": who.topic, "group": who.group}
        names = list(self._labels)
        self._checkpoint = Histogram(
            "openmsi_checkpoint_seconds", "how long a checkpoint took", names, buckets=_BUCKETS, registry=self.registry
        ).labels(**self._labels)
        self._age = Histogram(
            "openmsi_file_age_seconds",
            "from the last change of a file to its acknowledgement (sender), or to its outcome (run)",
            names,
            buckets=_AGES,
            registry=self.registry,
        ).labels(**self._labels)
        ProcessCollector(registry=self.registry)
        collector: Any = self
        self.registry.register(collector)

    def checkpoint_took(self, seconds: float) -> None:
        """One checkpoint more."""
        self._checkpoint.observe(seconds)

    def file_aged(self, seconds: float) -> None:
        """One file more arrived where it should, so long after its last change."""
        self._age.observe(max(0.0, seconds))

    def collect(self) -> Iterable[Metric]:
        """What prometheus_client asks for at each scrape."""
        now = self._vitals.snapshot()
        names, values = list(self._labels), list(self._labels.values())
        for key, (name, text) in COUNTS.items():
            if key in now.counts:
                yield _one(CounterMetricFamily(name, text, labels=names), values, now.counts[key])
        for key, (name, text) in GAUGES.items():
            if key in now.gauges:
                yield _one(GaugeMetricFamily(name, text, labels=names), values, now.gauges[key])
        outcomes = CounterMetricFamily("openmsi_outcomes", "files by what became of them", labels=[*names, "outcome"])
        for what, count in now.outcomes.items():
            outcomes.add_metric([*values, what], count)
        yield outcomes
        state = GaugeMetricFamily("openmsi_state", "1 for the state that it is in", labels=[*names, "state"])
        for each in State:
            state.add_metric([*values, each], float(each is now.state))
        yield state
        since = GaugeMetricFamily("openmsi_progress_seconds", "since something moved, or nothing waited", labels=names)
        yield _one(since, values, now.moved_s)
        told = InfoMetricFamily("openmsi_build", "versions", labels=names)
        told.add_metric(values, dict(self._vitals.who.versions))
        yield told


def _one(family: Any, labels: list[str], value: float) -> Metric:
    family.add_metric(labels, value)
    metric: Metric = family
    return metric


class _Silent(WSGIRequestHandler):
    timeout = 10  # a client that says nothing does not keep a thread for ever

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        log.debug(format, *args)


@contextmanager
def served(metrics: Metrics, vitals: Vitals, address: str, port: int) -> Iterator[int]:
    """``/metrics`` and ``/healthz`` over HTTP while inside; the port (``port`` 0: a free one).

    Raises SettingsError when the address cannot be listened on.
    """
    try:
        server = make_server(
            address, port, _answers(metrics, vitals), server_class=ThreadingWSGIServer, handler_class=_Silent
        )
    except OSError as error:
        raise SettingsError(
            f"metrics cannot be served at {address}:{port}: {error.strerror or error}. Another program may have that "
            "port: choose one with --metrics-port."
        ) from error
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="metrics", daemon=True)
    thread.start()
    log.info("metrics at http://%s:%d/metrics, health at /healthz", address, server.server_port)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _answers(metrics: Metrics, vitals: Vitals) -> Callable[..., Any]:
    of_prometheus = make_wsgi_app(metrics.registry)

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Any:
        path = environ.get("PATH_INFO", "/")
        if path == "/metrics":
            return of_prometheus(environ, start)
        if path == "/healthz":
            now = vitals.snapshot()
            status = "200 OK" if now.state.is_healthy else "503 Service Unavailable"
            told = {"state": now.state, "since_progress_s": round(now.moved_s, 1), "last_error": now.last_error}
            body, kind = json.dumps(told).encode(), "application/json"
        else:
            status, body, kind = "404 Not Found", b"there is /metrics and /healthz\n", "text/plain"
        start(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [body]

    return answer
