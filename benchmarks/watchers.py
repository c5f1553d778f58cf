"""What may become of an executor's events, for `benchmarks.watching`."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.daemons import PORTFIRE
from messaging.errors import NotFoundError
from messaging.names import Names
from messaging.pubsub import PubSub

NAMES = Names("portfire")
_PROJECT = "portfire-local"


@dataclass(frozen=True, slots=True)
class Case:
    """One way in which events go."""

    name: str
    #: Environment variables of the daemons.
    settings: dict[str, str]
    #: What goes on beside the jobs, given the broker's address.
    beside: Callable[[str], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext
    #: Seconds that the broker takes for a request that publishes events.
    delay: float = 0.0


@contextmanager
def subscriber(address: str) -> Iterator[None]:
    """`portfire events` in a process of its own."""
    environment = {**os.environ, "PUBSUB_EMULATOR_HOST": address}
    watching = subprocess.Popen(
        [*PORTFIRE, "events"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        watching.terminate()
        watching.wait(30)


@contextmanager
def slow_subscriber(address: str) -> Iterator[None]:
    """A subscription whose subscriber takes ten events a second, and acknowledges none."""
    subscription = NAMES.watcher("slow")

    def slowly(pubsub: PubSub) -> None:
        pubsub.pull(subscription, 10, 0.5)

    with closing(PubSub(_PROJECT, address)) as pubsub:
        pubsub.create_subscription(subscription, NAMES.events)
        with _again_and_again(1.0, lambda: slowly(pubsub)):
            yield


@contextmanager
def no_topic(address: str) -> Iterator[None]:
    """The events topic is deleted, and again as soon as the dispatcher has mended that."""

    def delete(pubsub: PubSub) -> None:
        with contextlib.suppress(NotFoundError):
            pubsub.delete_topic(NAMES.events)

    with (
        closing(PubSub(_PROJECT, address)) as pubsub,
        _again_and_again(0.1, lambda: delete(pubsub)),
    ):
        yield


@contextmanager
def _again_and_again(seconds: float, what: Callable[[], None]) -> Iterator[None]:
    over = threading.Event()

    def run() -> None:
        what()
        while not over.wait(seconds):
            what()

    thread = threading.Thread(target=run, name="beside", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(30)


CASES = (
    Case("no events", {"PORTFIRE_EVENTS": "false"}),
    Case("events", {}),
    Case("one subscriber", {}, subscriber),
    Case("slow subscriber", {}, slow_subscriber),
    Case("slow broker (1 s)", {}, delay=1.0),
    Case("topic deleted", {}, no_topic),
)
