"""Sending spans through outages, without a line in the log for each try."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

log = logging.getLogger(__name__)
#: What the library itself says of failures: each try, and each batch.
_LIBRARY = "opentelemetry.exporter.otlp.proto.http.trace_exporter"


class CountingSender(SpanExporter):
    """An exporter that tells of an outage where it begins, and where it ends what it has cost.

    The library tries each batch for ten seconds; what fails then is lost. One thread at a time.
    """

    def __init__(self, inner: SpanExporter, where: str) -> None:
        self.lost = 0
        self._inner = inner
        self._where = where
        self._library = _FirstOnly()
        logging.getLogger(_LIBRARY).addFilter(self._library)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send, as in SpanExporter."""
        result = self._inner.export(spans)
        if result is not SpanExportResult.SUCCESS:
            if not self.lost:
                log.warning("%s takes no traces: spans are being lost", self._where)
            self.lost += len(spans)
        elif self.lost or self._library.said:
            log.warning("%s takes traces again; %d spans were lost", self._where, self.lost)
            self.lost, self._library.said = 0, False
        return result

    def shutdown(self) -> None:
        """Stop trying, and say what is lost for good."""
        self._inner.shutdown()
        logging.getLogger(_LIBRARY).removeFilter(self._library)
        if self.lost:
            log.warning("%s took no traces at last; %d spans were lost", self._where, self.lost)


class _FirstOnly(logging.Filter):
    """Lets the first word on an outage pass: it has the reason."""

    said = False

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        passes, self.said = not self.said, True
        return passes
