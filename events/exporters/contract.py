"""What an exporter is."""

from __future__ import annotations

from collections.abc import Mapping

from events.exporters.meters import Meter
from events.job_run import JobRun
from events.metrics import JobMetrics
from events.types import Event


class Exporter:
    """Hands what happens on to another tool; base of all exporters, which takes nothing.

    All methods are called by one thread. They must not block for long, and raise nothing: a tool
    that is away loses its measurements, and nobody else theirs.
    """

    #: For people: where it goes, such as ``http://127.0.0.1:9464/metrics``.
    where: str = ""

    def event(self, event: Event) -> None:
        """An event came."""

    def record(self, meter: Meter, value: float, labels: Mapping[str, str]) -> None:
        """A counter grew by `value`, a gauge is `value`, a histogram has one more `value`."""

    def ended(self, run: JobRun) -> None:
        """A run ended, and all that is to come of it is there."""

    def finished(self, job: JobMetrics) -> None:
        """A job finished, well or not."""

    def flush(self) -> None:
        """Called about once a second, after what came in it."""

    def close(self) -> None:
        """Hand on what is left, for some seconds at most, and let go. Idempotent."""
