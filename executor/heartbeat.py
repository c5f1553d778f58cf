"""Signs of life: heartbeat events of the executor, and pings of the launches that it runs."""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from events.publisher import EventPublisher
from executor.held_job import HeldJobs
from executor.lost_events import LostEvents
from executor.presence import Presence
from executor.report import Reporter
from executor.slot import Slot

log = logging.getLogger(__name__)


class Heartbeat:
    """One thread that beats every `seconds` until stopped."""

    def __init__(
        self,
        seconds: float,
        *,
        pool: str,
        workdir: Path,
        slots: Sequence[Slot],
        jobs: HeldJobs,
        events: EventPublisher,
        reporter: Reporter,
        presence: Presence,
        on_death: Callable[[str], None],
    ) -> None:
        self._seconds = seconds
        self._pool = pool
        self._workdir = workdir
        self._slots = slots
        self._jobs = jobs
        self._events = events
        self._lost_events = LostEvents(events)
        self._reporter = reporter
        self._presence = presence
        self._on_death = on_death
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Start beating; the first beat comes after the interval, the dispatcher hears at once."""
        self._presence.say()
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Stop."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
            self._presence.say(stopped=True)

    def _run(self) -> None:
        try:
            while not self._stopping.wait(self._seconds):
                self.beat()
        except Exception:
            log.exception("the heartbeat died")
            self._on_death("the heartbeat died")

    def beat(self) -> None:
        """Publish one heartbeat, and a ping for every running launch."""
        self._events.publish(
            "executor.heartbeat",
            pool=self._pool,
            threads=len(self._slots),
            busy=sum(slot.busy for slot in self._slots),
            memory=psutil.Process().memory_info().rss,
            load=os.getloadavg()[0],
            disk=self._free_bytes(),
            lost_events=self._events.lost,
        )
        self._lost_events.look()
        self._presence.say()
        for held in self._jobs.all():
            self._reporter.ping(held)

    def _free_bytes(self) -> int | None:
        try:
            return shutil.disk_usage(self._workdir).free
        except OSError:
            return None
