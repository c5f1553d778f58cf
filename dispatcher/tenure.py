"""One dispatcher at a time for each prefix and pool; another one stands by and takes over.

The incumbent counts up a ``beat`` in a document of the LaunchPad's database. A standby watches it
by its own clock, so that clocks need not agree: a beat that stood still for `STALE_SECONDS`, or an
incumbent of this machine whose process is gone, is succeeded. Only one can: each step is guarded by
the instance and the beat that it was decided on. The beat has a thread of its own, so that a long
turn is not taken for a death.

The document also remembers, across a crash, that Pub/Sub had lost its state and that not everything
has been published again yet.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from pymongo.errors import DuplicateKeyError

from dispatcher.launchpad import database_errors
from messaging.errors import PortfireError, ServiceError

log = logging.getLogger(__name__)

#: How often `renew` should be called, at least, and when a silent incumbent is succeeded.
RENEW_SECONDS = 5.0
STALE_SECONDS = 15.0
#: How often a standby looks whether it must take over.
_LOOK_SECONDS = 1.0
#: The start of one process, asked for twice, may differ by so much when the clock is set.
_SAME_START_SECONDS = 1.5

_COLLECTION = "portfire_dispatchers"


class TenureLostError(PortfireError):
    """Another dispatcher has taken over: this one must stop."""


class Tenure:
    """The right to dispatch for one owner (prefix and pool). Thread-safe once in office."""

    def __init__(self, launchpad: Any, owner: str) -> None:
        self._collection = launchpad.db[_COLLECTION]
        self._owner = owner
        #: Which of the owner's dispatchers this is.
        self.instance = uuid.uuid4().hex
        self._host = socket.gethostname()
        self._machine = _machine()
        #: The incumbent's instance and beat as last seen, and since when they stand still.
        self._seen: tuple[str, int] | None = None
        self._since = 0.0

    def try_take(self) -> bool:
        """Take office if it is vacant; to be called again every second or so until it is."""
        me = {
            "instance": self.instance,
            "host": self._host,
            "machine": self._machine,
            "pid": os.getpid(),
            "started": psutil.Process().create_time(),
            "beat": 0,
        }
        incumbent = self._collection.find_one({"_id": self._owner})
        if incumbent is None:
            try:
                self._collection.insert_one({"_id": self._owner, "pubsub_is_new": False, **me})
            except DuplicateKeyError:
                return False
            return True
        if not self._is_gone(incumbent):
            return False
        result = self._collection.update_one(
            {"_id": self._owner, "instance": incumbent["instance"], "beat": incumbent["beat"]},
            {"$set": me},
        )
        return bool(result.matched_count)

    def await_vacancy(self, stopping: threading.Event) -> None:
        """Take office, standing by as long as another dispatcher holds it, or until `stopping`."""
        announced = False
        while not stopping.is_set():
            try:
                with database_errors("see whether another dispatcher runs"):
                    if self.try_take():
                        return
                    if not announced:
                        announced = True
                        log.warning(
                            "another dispatcher (%s) is at work: standing by to take over",
                            self.incumbent(),
                        )
            except ServiceError as exc:
                log.warning("%s; trying again", exc)
            stopping.wait(_LOOK_SECONDS)

    def incumbent(self) -> str:
        """Who is in office, for people."""
        found = self._collection.find_one({"_id": self._owner}) or {}
        return f"process {found.get('pid')} on {found.get('host')}"

    def renew(self) -> None:
        """Show that we are alive; raises TenureLostError when somebody has taken over."""
        mine = {"_id": self._owner, "instance": self.instance}
        if not self._collection.update_one(mine, {"$inc": {"beat": 1}}).matched_count:
            raise TenureLostError(
                f"another dispatcher ({self.incumbent()}) has taken over: this one was silent for "
                f"{STALE_SECONDS:g} s"
            )

    def give_up(self) -> None:
        """Leave office, so that a standby takes over at once; never raises.

        The document stays when something is still to be remembered.
        """
        mine = {"_id": self._owner, "instance": self.instance, "pubsub_is_new": False}
        try:
            with database_errors("leave"):
                self._collection.delete_one(mine)
        except PortfireError as exc:
            log.debug("%s", exc)

    @property
    def pubsub_is_new(self) -> bool:
        """Whether Pub/Sub lost its state and not everything has been published again."""
        found = self._collection.find_one({"_id": self._owner}) or {}
        return bool(found.get("pubsub_is_new"))

    @pubsub_is_new.setter
    def pubsub_is_new(self, value: bool) -> None:
        mine = {"_id": self._owner, "instance": self.instance}
        self._collection.update_one(mine, {"$set": {"pubsub_is_new": value}})

    def _is_gone(self, incumbent: dict[str, Any]) -> bool:
        here = (self._host, self._machine)
        if (incumbent["host"], incumbent.get("machine")) == here and _is_dead(incumbent):
            return True
        state = (str(incumbent["instance"]), int(incumbent["beat"]))
        if state != self._seen:
            self._seen, self._since = state, time.monotonic()
        return time.monotonic() - self._since > STALE_SECONDS


class TenureKeeper:
    """One thread that renews a tenure until `stop`, and calls `on_lost` when it is lost."""

    def __init__(
        self,
        tenure: Tenure,
        on_lost: Callable[[TenureLostError], None],
        seconds: float = RENEW_SECONDS,
    ) -> None:
        self._tenure = tenure
        self._on_lost = on_lost
        self._seconds = seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tenure", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread. Idempotent."""
        self._stopping.set()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        while not self._stopping.wait(self._seconds):
            try:
                with database_errors("stay in office"):
                    self._tenure.renew()
            except TenureLostError as exc:
                self._on_lost(exc)
                return
            except PortfireError as exc:
                # Away: then nobody else can take over either, and the dispatcher tells of it.
                log.debug("%s", exc)


def _machine() -> str:
    """Where process ids mean the same: this boot of this machine, and this container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return f"{psutil.boot_time():.0f}"


def _is_dead(incumbent: dict[str, Any]) -> bool:
    """Whether a process of this machine is gone; another one may have its number by now."""
    try:
        process = psutil.Process(int(incumbent["pid"]))
        is_another = abs(process.create_time() - float(incumbent["started"])) > _SAME_START_SECONDS
        return is_another or bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False
