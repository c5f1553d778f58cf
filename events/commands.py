"""What `portfire events` and `portfire metrics` print, as it happens."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator
from typing import TextIO

from events.metrics import JobMetrics, MetricsCollector
from events.subscriber import Subscription, subscribe
from messaging.settings import PubSubSettings

JOB_EVENTS = 'hasPrefix(attributes.type, "job.")'
_STOP_CHECK_SECONDS = 0.25
#: How long a finished job's record may wait beyond the collector's patience.
_TICK_SECONDS = 2.0


def print_events(
    settings: PubSubSettings,
    filter: str,  # noqa: A002 - Pub/Sub's own word for it
    out: TextIO,
    stop: threading.Event,
) -> None:
    """Write every event that passes `filter` as one line of JSON, until `stop` is set.

    Each line is flushed. Ends quietly, closing `out`, when the reader of `out` goes away. Raises
    UsageError (wrong filter, no permission) and ServiceError (Pub/Sub is away at the start).
    """
    with _subscribed(settings, filter, stop) as subscription:
        _write((event.encode().decode() for event in subscription), out)


def print_metrics(
    settings: PubSubSettings,
    filter: str,  # noqa: A002 - as above
    out: TextIO,
    stop: threading.Event,
) -> None:
    """Write a header, then one tab-separated line per finished job, until `stop` is set.

    `filter` narrows the events down; empty means all jobs. A job whose phases the filter excludes
    has no figures for them. Flushing, ending and errors are those of `print_events`.
    """
    with _subscribed(settings, filter or JOB_EVENTS, stop) as subscription:
        _write(_metric_lines(subscription), out)


def _metric_lines(subscription: Subscription) -> Iterator[str]:
    yield JobMetrics.header()
    collector = MetricsCollector()
    while not subscription.closed:
        for event in subscription.receive(_TICK_SECONDS):
            yield from (record.row() for record in collector.add(event))
        yield from (record.row() for record in collector.overdue())
    yield from (record.row() for record in collector.flush())


@contextlib.contextmanager
def _subscribed(
    settings: PubSubSettings,
    filter: str,  # noqa: A002 - as above
    stop: threading.Event,
) -> Iterator[Subscription]:
    with subscribe(settings, filter=filter) as subscription:
        threading.Thread(
            target=_close_when, args=(stop, subscription), name="stop-watching", daemon=True
        ).start()
        yield subscription


def _close_when(stop: threading.Event, subscription: Subscription) -> None:
    """Wake the blocked pull when `stop` is set; end when the subscription is closed otherwise."""
    while not stop.wait(_STOP_CHECK_SECONDS):
        if subscription.closed:
            return
    subscription.close()


def _write(lines: Iterable[str], out: TextIO) -> None:
    try:
        for line in lines:
            out.write(f"{line}\n")
            out.flush()
    except BrokenPipeError:
        # Closed, lest the interpreter complain at exit about what it could not flush.
        with contextlib.suppress(BrokenPipeError):
            out.close()
