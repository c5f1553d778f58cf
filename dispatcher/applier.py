"""Applies the updates in deliveries to the LaunchPad, and says how to settle them."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from typing import TypeVar

from dispatcher.announcements import Announcements
from dispatcher.counts import Counts
from dispatcher.in_flight import InFlightTable
from dispatcher.launchpad import refuses_document
from dispatcher.outbox import Outbox
from dispatcher.reader import DISPATCHER, Reader, ended_by_dispatcher
from dispatcher.receiver import Delivery
from dispatcher.settlement import Settlement
from dispatcher.updates import Updates, Verdict
from dispatcher.workflow_errors import WorkflowBusyError
from messaging.errors import PortfireError
from messaging.names import Names
from messaging.wire import (
    Cancel,
    ExecutorNews,
    Finished,
    LaunchUpdate,
    Ping,
    PoolMade,
    Released,
    Started,
    Update,
)

log = logging.getLogger(__name__)

#: So many updates are applied before they are settled: their lease must not end meanwhile.
_TOGETHER = 200


_U = TypeVar("_U", Started, Finished)


class Applier:
    """Applies batches of updates; not thread-safe."""

    def __init__(
        self,
        settlement: Settlement,
        names: Names,
        pool: str,
        updates: Updates,
        table: InFlightTable,
        outbox: Outbox,
        counts: Counts,
        announcements: Announcements,
        on_loss: Callable[[], None],
        on_news: Callable[[ExecutorNews], None] = lambda _: None,
    ) -> None:
        """`settlement` is the caller's to send. `on_loss` is called when an executor has made
        the pool's subscription, `on_news` with what executors say of themselves.
        """
        self._on_loss = on_loss
        self._on_news = on_news
        self._announcements = announcements
        self._settlement = settlement
        self._reader = Reader(names, pool, counts)
        self._updates = updates
        self._table = table
        self._outbox = outbox
        self._counts = counts

    def apply(self, deliveries: Sequence[Delivery]) -> None:
        """Apply all; what was applied is to be acked, and what must wait to be given back.

        When the LaunchPad is away, that is everything not applied yet, and the error goes to the
        caller.
        """
        read = [(delivery, self._reader.read(delivery)) for delivery in deliveries]
        ended = {
            (update.launch_id, update.attempt) for _, update in read if isinstance(update, Finished)
        }
        done = 0
        try:
            while done < len(read):
                if done:
                    self._settlement.send()
                some = read[done : done + _TOGETHER]
                applied = self._apply_some([update for _, update in some], ended)
                for (delivery, _), is_done in zip(some, applied, strict=True):
                    self._settlement.add(delivery, done=is_done)
                done += len(some)
        finally:
            self.give_back([delivery for delivery, _ in read[done:]])

    def _apply_some(
        self, updates: Sequence[Update | None], ended: Set[tuple[int, int]]
    ) -> list[bool]:
        """Apply; for each whether it is done with.

        Most launches are spoken of once in so short a time: those go together. What is said of
        others goes first, in its order.
        """
        times = Counter(_launch_id(update) for update in updates)
        results: dict[int, bool] = {}
        starts: dict[int, Started] = {}
        ends: dict[int, Finished] = {}
        for place, update in enumerate(updates):
            if update is None or _is_said_by_end(update, ended):
                results[place] = True
            elif times[_launch_id(update)] > 1 or not isinstance(update, (Started, Finished)):
                results[place] = self._apply_one(update)
            elif isinstance(update, Started):
                starts[place] = update
            else:
                ends[place] = update
        results |= self._together(starts, self._start_all)
        results |= self._together(ends, self._finish_all)
        return [results[place] for place in range(len(updates))]

    def _together(
        self, updates: Mapping[int, _U], apply: Callable[[Sequence[_U]], list[bool]]
    ) -> dict[int, bool]:
        if not updates:
            return {}
        try:
            return dict(zip(updates, apply(list(updates.values())), strict=True))
        except Exception as exc:
            if not refuses_document(exc):
                raise
            # One of them cannot be stored: find out which, for the others' sake.
            return {place: self._apply_one(update) for place, update in updates.items()}

    def _start_all(self, updates: Sequence[Started]) -> list[bool]:
        heard = [update for update in updates if self._hear(update)]
        self._counts.stale += len(updates) - len(heard)
        for update, verdict in zip(heard, self._updates.start_all(heard), strict=True):
            self._note(update, verdict)
        return [True] * len(updates)

    def _finish_all(self, updates: Sequence[Finished]) -> list[bool]:
        ends = self._updates.finish_all(updates)
        for update, end in zip(updates, ends, strict=True):
            if not isinstance(end, WorkflowBusyError):
                self._note(update, self._ended(update, end))
        return [not isinstance(end, WorkflowBusyError) for end in ends]

    def fizzle(self, update: Finished) -> bool:
        """Apply an end that the dispatcher itself decided on; False when it must be tried again."""
        return self._apply_one(update)

    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        """Leave these to the next dispatcher, without making it wait for them."""
        for delivery in deliveries:
            self._settlement.add(delivery, done=False)

    def _apply_one(self, update: Update) -> bool:
        """Apply; False when it must be delivered again."""
        if isinstance(update, PoolMade):
            self._on_loss()
            return True
        if isinstance(update, ExecutorNews):
            self._on_news(update)
            return True
        try:
            self._note(update, self._dispatch(update))
        except WorkflowBusyError as exc:
            log.debug("%s; update of job %s waits", exc, update.job)
            return False
        except Exception as exc:  # nothing unforeseen may stop all other work
            if not refuses_document(exc):
                raise
            return self._give_up(update, exc)
        return True

    def _note(self, update: LaunchUpdate, verdict: Verdict) -> None:
        if verdict is Verdict.APPLIED:
            return
        log.info(
            "refused: %s of job %s, attempt %d, by executor %s: %s",
            *(update.update, update.job, update.attempt, update.executor),
            "it repeats, or a newer attempt has been published"
            if verdict is Verdict.STALE
            else "its launch is unknown, over, not wanted or published anew; it is told to stop",
        )
        if verdict is Verdict.STALE:
            self._counts.stale += 1
        else:
            self._counts.unwanted += 1
            self._cancel(update)

    def _give_up(self, update: LaunchUpdate, error: Exception) -> bool:
        """What MongoDB or FireWorks cannot take: a launch must end all the same."""
        log.error("%s update of job %s cannot be applied: %r", update.update, update.job, error)
        if not isinstance(update, Finished):
            return True
        reason = f"the result of job {update.job} cannot be stored: {type(error).__name__}: {error}"
        fizzled = ended_by_dispatcher(update.job, update.launch_id, update.attempt, reason)
        if update.action == fizzled.action:
            return False
        return self._apply_one(fizzled)

    def _dispatch(self, update: LaunchUpdate) -> Verdict:
        if isinstance(update, Finished):
            return self._ended(update, self._updates.finish(update))
        if not self._hear(update):
            return Verdict.STALE
        if isinstance(update, Released):
            self._table.release(update.launch_id, update.executor, update.timestamp)
            return self._updates.release(update)
        if isinstance(update, Started):
            return self._updates.start(update)
        return self._updates.ping(update)

    def _hear(self, update: Started | Ping | Released) -> bool:
        """An executor speaks of a job that it has; False when that is no longer true."""
        released = isinstance(update, Released)
        if self._table.is_overtaken(update.launch_id, update.executor, update.timestamp):
            # Said before the launch was given back, and arrived after that.
            return False
        if released and self._table.runs_elsewhere(update.launch_id, update.executor):
            # Overtaken by the start on the executor that it was released to.
            return False
        self._table.hear(
            update.launch_id,
            update.attempt,
            time.monotonic(),
            running=not released,
            executor=update.executor,
        )
        return True

    def _ended(self, update: Finished, state: str | None) -> Verdict:
        # Not if it is an older attempt's word: the newer one is still on its way.
        self._table.drop(update.launch_id, update.attempt)
        if state is None:
            return Verdict.STALE
        if state == "COMPLETED":
            self._counts.completed += 1
        else:
            self._counts.fizzled += 1
        if state != update.state or update.executor == DISPATCHER:
            # The executor has announced another end, or none.
            self._announcements.fizzled(update.job, update.launch_id)
        return Verdict.APPLIED

    def _cancel(self, update: LaunchUpdate) -> None:
        self._counts.cancelled += self._table.drop(update.launch_id, update.attempt)
        cancel = Cancel(
            job=update.job,
            attempt=update.attempt,
            reason="its Firework was defused, paused, rerun, ended or deleted",
        )
        try:
            self._outbox.cancel(cancel, update.executor)
        except PortfireError as exc:
            log.warning("%s: job %s runs on, its result will be dropped", exc, update.job)


def _launch_id(update: Update | None) -> int | None:
    if update is None or isinstance(update, (PoolMade, ExecutorNews)):
        return None
    return update.launch_id


def _is_said_by_end(update: Update, ended: Set[tuple[int, int]]) -> bool:
    """Whether the job's end was delivered with it, and says all that this does."""
    return (
        not isinstance(update, (Finished, PoolMade, ExecutorNews))
        and (update.launch_id, update.attempt) in ended
    )
