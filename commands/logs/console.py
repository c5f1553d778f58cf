"""The log on standard error: lines for people, or a JSON object a line for collectors."""

from __future__ import annotations

import datetime
import json
import logging
import sys
from collections.abc import Mapping

from commands.logs.labels import labels_of, severity_of

#: Libraries whose own words are for their developers.
_LIBRARIES = ("docker", "google", "grpc", "launchpad", "pymongo", "urllib3")
_TEXT = "%(asctime)s %(levelname)s %(message)s"


class Console(logging.StreamHandler):  # type: ignore[type-arg]
    """This process's handler for standard error. Thread-safe, as all of logging's."""

    def __init__(self, level: int) -> None:
        super().__init__(sys.stderr)
        # On the handler too: FireWorks' loggers are at DEBUG whatever the root says.
        self.setLevel(level)
        self.setFormatter(logging.Formatter(_TEXT))


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON.

    ``time`` (RFC 3339, UTC), ``severity``, ``message``, ``logger``, ``exception`` when there is
    one, and the record's labels over those of the daemon, all at the top.
    """

    def __init__(self, labels: Mapping[str, str]) -> None:
        super().__init__()
        self._labels = labels

    def format(self, record: logging.LogRecord) -> str:
        """See above; never longer than one line."""
        moment = datetime.datetime.fromtimestamp(record.created, datetime.timezone.utc)
        fields = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "severity": severity_of(record),
            "message": record.getMessage(),
            "logger": record.name,
            **self._labels,
            **labels_of(record),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)


def log_to_stderr(verbosity: int) -> None:
    """0: warnings; 1: what befalls the daemons; 2: ours in detail; 3: our libraries' too."""
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbosity, 2)]
    logging.basicConfig(level=level, handlers=[Console(level)])
    if verbosity < 3:
        for library in _LIBRARIES:
            logging.getLogger(library).setLevel(logging.WARNING)


def console() -> Console | None:
    """The handler that `log_to_stderr` installed."""
    found = [handler for handler in logging.getLogger().handlers if isinstance(handler, Console)]
    return found[0] if found else None


def complain(problem: object) -> None:
    """Say on standard error why a command ends, in the form of its log."""
    handler = console()
    if handler is not None and isinstance(handler.formatter, JsonFormatter):
        # For the console alone: a log service has been told already.
        record = logging.makeLogRecord(
            {"name": "portfire", "levelno": logging.CRITICAL, "msg": "%s", "args": (str(problem),)}
        )
        handler.handle(record)
    else:
        print(f"portfire: {problem}", file=sys.stderr)
