"""What a log record is about, beside its text: the labels by which logs are filtered."""

from __future__ import annotations

import logging

#: Attributes of records (``extra=``) that are labels; the daemon's own come with all its records.
LABELS = (
    "executor",
    "pool",
    "job",
    "job_name",
    "attempt",
    "firework",
    "workflow",
    "stream",
)


def labels_of(record: logging.LogRecord) -> dict[str, str]:
    """The labels of a record that are not empty."""
    found = {name: getattr(record, name, None) for name in LABELS}
    return {name: str(value) for name, value in found.items() if value not in (None, "")}


def severity_of(record: logging.LogRecord) -> str:
    """Cloud Logging's word for the record's level; a level in between counts as the one below."""
    for level in (logging.CRITICAL, logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG):
        if record.levelno >= level:
            return logging.getLevelName(level)
    return "DEFAULT"
