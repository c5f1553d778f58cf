"""Metrics for StatsD: lines of text in UDP datagrams.

The protocol is ``name:value|c``, ``|g`` or ``|ms``. Plain StatsD knows no labels: their values
become parts of the name (``portfire.jobs.default.COMPLETED``). DogStatsD, Telegraf and others take
them as tags (``portfire.jobs:1|c|#pool:default,state:COMPLETED``).
"""

from __future__ import annotations

import logging
import re
import socket
import time
from collections.abc import Iterable, Iterator, Mapping

from events.exporters.addresses import format_address
from events.exporters.contract import Exporter
from events.exporters.meters import Meter
from messaging.errors import UsageError

log = logging.getLogger(__name__)

DEFAULT_PORT = 8125
#: Bytes of a datagram that pass an Ethernet, and the tunnels on it, in one piece.
MAX_DATAGRAM = 1400
_WARN_SECONDS = 600.0
_KINDS = {"counter": "c", "gauge": "g", "histogram": "ms"}
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")
_NOT_IN_TAGS = re.compile(r"[\s,:|@#]")


class StatsdExporter(Exporter):
    """Sends what was measured since the last flush; what nobody receives is lost, as in all UDP."""

    def __init__(self, host: str, port: int, tags: bool = False) -> None:
        """Send to `host` and `port`, with labels as `tags` if wanted. Raises UsageError."""
        self.where = f"statsd://{format_address(host, port)}"
        self._tags = tags
        #: Sums of counters and last values of gauges since the last flush, by name.
        self._totals: dict[tuple[str, str, str], float] = {}
        self._times: list[str] = []
        self._warned = float("-inf")
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_DGRAM
            )[0]
            self._socket = socket.socket(family, kind, protocol)
            self._socket.setblocking(False)
            self._socket.connect(address)
        except OSError as exc:
            reason = exc.strerror or exc
            raise UsageError(f"cannot send to StatsD at {host}:{port}: {reason}") from exc

    def record(self, meter: Meter, value: float, labels: Mapping[str, str]) -> None:
        """See Exporter."""
        name, suffix = self._name(meter, labels)
        kind = _KINDS[meter.kind]
        if kind == "ms":
            self._times.append(f"{name}:{_number(value * 1000)}|ms{suffix}")
        elif kind == "c":
            key = (name, kind, suffix)
            self._totals[key] = self._totals.get(key, 0.0) + value
        else:
            self._totals[name, kind, suffix] = value

    def flush(self) -> None:
        """See Exporter."""
        lines = [
            f"{name}:{_number(value)}|{kind}{suffix}"
            for (name, kind, suffix), value in self._totals.items()
        ]
        lines += self._times
        self._totals, self._times = {}, []
        for datagram in datagrams(lines):
            self._send(datagram)

    def close(self) -> None:
        """See Exporter."""
        self._socket.close()

    def _name(self, meter: Meter, labels: Mapping[str, str]) -> tuple[str, str]:
        """The name, and what stands at the line's end."""
        name = meter.name.removeprefix("portfire_").removesuffix("_total")
        if meter.kind == "histogram":
            name = name.removesuffix("_seconds")  # StatsD's timers are milliseconds
        if self._tags:
            pairs = (f"{label}:{_NOT_IN_TAGS.sub('_', labels[label])}" for label in meter.labels)
            tags = ",".join(pairs)
            return f"portfire.{name}", f"|#{tags}" if tags else ""
        parts = (_NOT_IN_NAMES.sub("_", labels[label]) for label in meter.labels)
        return ".".join(("portfire", name, *parts)), ""

    def _send(self, datagram: bytes) -> None:
        try:
            self._socket.send(datagram)
        except OSError as exc:
            # Of a server that is away only every other datagram says so.
            if time.monotonic() - self._warned > _WARN_SECONDS:
                self._warned = time.monotonic()
                log.warning("%s does not take metrics: %s", self.where, exc.strerror or exc)


def datagrams(lines: Iterable[str], size: int = MAX_DATAGRAM) -> Iterator[bytes]:
    """The lines in datagrams of at most `size` bytes; one that is longer goes alone."""
    packed = b""
    for line in lines:
        data = line.encode()
        if packed and len(packed) + 1 + len(data) > size:
            yield packed
            packed = b""
        packed = packed + b"\n" + data if packed else data
    if packed:
        yield packed


def _number(value: float) -> str:
    """Without an exponent, which few servers read."""
    return f"{value:.3f}".rstrip("0").rstrip(".")
