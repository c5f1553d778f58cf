"""The life of an executor on its VM: it goes when it is told to, when it idles, when the VM does.

====================================  ===========================================  =============
what happens                          what becomes of running jobs                 then the VM is
====================================  ===========================================  =============
attribute ``quit`` is ``soon``        they take the time that they need            deleted
``quit`` is ``when-idle``, and idle   there are none                               deleted
idle for too long                     there are none                               deleted
``instance/preempted`` is ``TRUE``    given back at once                           gone anyway
a signal, on a preemptible VM         given back at once                           gone anyway
a signal, elsewhere                   they have ``grace_seconds``                  kept
====================================  ===========================================  =============

Off Compute Engine there are no metadata; idling too long (if it is told how long) just ends the
executor. What the metadata server does not tell is no reason to stop: none of this is needed for
any job's result.
"""

from __future__ import annotations

import logging
import threading
import time

from executor.daemon import Executor
from executor.stopping import Urgency
from executor.vm.idleness import IdleLimits, reason_to_go
from executor.vm.place import ATTRIBUTES, Vm, is_preempted, parse_attributes
from executor.vm.watch import MetadataWatch
from messaging.errors import UsageError

log = logging.getLogger(__name__)

#: How often the idle time is looked at, in seconds.
_LOOK_SECONDS = 0.5


class Life:
    """Watches over one executor. A context manager, to be entered before it runs."""

    def __init__(self, executor: Executor, vm: Vm | None) -> None:
        settings = executor.settings
        self._executor = executor
        self._vm = vm
        self._limits = IdleLimits(
            rockets=settings.idle_for_rockets, waiters=settings.idle_for_waiters
        )
        #: Monotonic time when the executor was last seen busy, or the pool with something READY.
        self._last_busy = time.monotonic()
        self._when_idle = False
        self._stopping = threading.Event()
        self._idle_thread = threading.Thread(target=self._run, name="vm-idle", daemon=True)
        self._watches = [] if vm is None else self._make_watches(vm.host)

    def __enter__(self) -> Life:
        self._idle_thread.start()
        for watch in self._watches:
            watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for watch in self._watches:
            watch.stop()
        self._idle_thread.join(5.0)

    @property
    def ended_by_itself(self) -> bool:
        """Whether the executor stopped because there was nothing more to do here for it."""
        return self._executor.stop_urgency is Urgency.WHEN_DONE

    def signalled(self) -> None:
        """The process was told to end: softly, unless that means that the VM goes. May block."""
        vm = self._vm
        if vm is not None and (vm.preemptible or is_preempted(vm.host)):
            self._executor.request_stop(
                "got a signal on a preemptible VM", urgency=Urgency.PREEMPTED
            )
        else:
            self._executor.request_stop("got a signal")

    def _make_watches(self, host: str) -> list[MetadataWatch]:
        return [
            MetadataWatch(
                host, ATTRIBUTES, self._on_attributes, name="vm-attributes", recursive=True
            ),
            MetadataWatch(host, "instance/preempted", self._on_preempted, name="vm-preempted"),
        ]

    def _on_attributes(self, text: str) -> None:
        wish = parse_attributes(text).get("quit", "").strip().lower()
        self._when_idle = wish == "when-idle"
        if wish == "soon":
            self._executor.request_stop("quit=soon", urgency=Urgency.WHEN_DONE)
        elif wish not in ("", "when-idle"):
            raise UsageError(
                f"metadata attribute quit is {wish[:60]!r}, and not obeyed: expected soon or "
                "when-idle"
            )

    def _on_preempted(self, text: str) -> None:
        said = text.strip().upper()
        if said == "TRUE":
            self._executor.request_stop("preempted", urgency=Urgency.PREEMPTED)
        elif said != "FALSE":
            raise UsageError(f"instance/preempted is {said[:60]!r}: expected TRUE or FALSE")

    def _run(self) -> None:
        try:
            while not self._stopping.wait(_LOOK_SECONDS):
                self._look()
        except Exception:
            log.exception("idleness is not noticed any more")

    def _look(self) -> None:
        pool = self._executor.pool_news.newest()
        now = time.monotonic()
        # Jobs that came and went between two looks count, too.
        idle = self._executor.idle_seconds
        if not idle or (pool is not None and pool.ready):
            self._last_busy = now
        idle = min(idle, now - self._last_busy)
        reason = reason_to_go(idle, pool, self._limits, when_idle=self._when_idle)
        if reason is not None:
            # Should a job come at this moment, it may take the time that it needs.
            self._executor.request_stop(reason, urgency=Urgency.WHEN_DONE)
            self._stopping.set()
