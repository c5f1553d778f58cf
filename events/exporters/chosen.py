"""From flags to exporters."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from events.exporters.addresses import parse_address
from events.exporters.contract import Exporter
from messaging.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which exporters are wanted; addresses as in `addresses`."""

    prometheus: str | None = None
    statsd: str | None = None
    #: StatsD's labels as tags rather than in names.
    statsd_tags: bool = False
    csv: Path | None = None
    otlp: str | None = None
    #: Tells one installation's jobs from another's.
    scope: str = ""

    @property
    def any(self) -> bool:
        """Whether any is wanted."""
        return bool(self.prometheus or self.statsd or self.csv or self.otlp)


@contextmanager
def opened(choice: Choice) -> Iterator[list[Exporter]]:
    """The wanted exporters, closed at the end. Raises UsageError: one line that says what to do."""
    with ExitStack() as stack:
        exporters = []
        for exporter in _each(choice):
            stack.callback(exporter.close)
            exporters.append(exporter)
        yield exporters


def _each(choice: Choice) -> Iterator[Exporter]:
    if choice.prometheus:
        address = parse_address(choice.prometheus, "--prometheus")
        yield _module("prometheus", "prometheus-client").PrometheusExporter(*address)
    if choice.statsd:
        from events.exporters.statsd import DEFAULT_PORT, StatsdExporter

        address = parse_address(choice.statsd, "--statsd", DEFAULT_PORT)
        yield StatsdExporter(*address, tags=choice.statsd_tags)
    if choice.csv:
        from events.exporters.csv_file import CsvExporter

        yield CsvExporter(choice.csv)
    if choice.otlp:
        otlp = _module("otlp", "opentelemetry-sdk and its OTLP exporter", extra="otel")
        yield otlp.OtlpExporter(choice.otlp, choice.scope)


def _module(name: str, package: str, extra: str = "") -> ModuleType:
    try:
        return importlib.import_module(f"events.exporters.{name}")
    except ImportError as exc:
        raise UsageError(
            f"--{name} needs {package}: pip install 'portfire[{extra or name}]'"
        ) from exc
