"""Carries claims to Pub/Sub and remembers what is on its way."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from dispatcher.claims import Claims, Published
from dispatcher.held_launches import Claim
from dispatcher.in_flight import InFlight, InFlightTable
from dispatcher.outbox import Outbox, too_large
from messaging.errors import JobError
from messaging.wire import LaunchJob

log = logging.getLogger(__name__)

#: Jobs in one publish: should the next one fail, these are not sent again.
_CHUNK = 500


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """A claim to be published as this attempt."""

    claim: Claim
    attempt: int


class Courier:
    """Publishes claims in order, each until it has worked. Not thread-safe."""

    def __init__(
        self,
        claims: Claims,
        outbox: Outbox,
        table: InFlightTable,
        max_attempts: int,
        refuse: Callable[[Parcel, str], bool],
    ) -> None:
        """`refuse` gets what can never be sent, and the reason; False: call it again later."""
        self._claims = claims
        self._outbox = outbox
        self._table = table
        self._max_attempts = max_attempts
        self._refuse = refuse
        self._waiting: list[Parcel] = []

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def launch_ids(self) -> set[int]:
        """The launches that wait to be published."""
        return {parcel.claim.launch_id for parcel in self._waiting}

    def take(self, claims: Iterable[Claim], attempt: int = 1) -> None:
        """Accept claims for the next `deliver`."""
        self._waiting += [Parcel(claim=claim, attempt=attempt) for claim in claims]

    def deliver(self) -> int:
        """Publish all that waits; how many. What could not be published stays for the next time."""
        parcels, jobs = self._sendable()
        for first in range(0, len(parcels), _CHUNK):
            chunk = slice(first, first + _CHUNK)
            self._send(parcels[chunk], jobs[chunk])
        return len(parcels)

    def _send(self, parcels: Sequence[Parcel], jobs: Sequence[LaunchJob]) -> None:
        message_ids = self._outbox.publish_jobs(jobs)
        sent = {job.launch_id for job in jobs}
        self._waiting = [each for each in self._waiting if each.claim.launch_id not in sent]
        now = time.monotonic()
        for job in jobs:
            # Before anything is recorded: should that fail, the job is known all the same.
            self._table.add(
                InFlight(
                    job=job.job,
                    launch_id=job.launch_id,
                    fw_id=job.fw_id,
                    attempt=job.attempt,
                    heard=now,
                )
            )
        self._claims.record_published(
            [
                Published(claim=parcel.claim, attempt=parcel.attempt, message_id=message_id)
                for parcel, message_id in zip(parcels, message_ids, strict=True)
            ]
        )

    def _sendable(self) -> tuple[Sequence[Parcel], list[LaunchJob]]:
        """Those that fit into a message; the others are refused and forgotten."""
        parcels, jobs = [], []
        for parcel in list(self._waiting):
            job, reason = self._packed(parcel)
            if job is not None:
                parcels.append(parcel)
                jobs.append(job)
            elif self._refuse(parcel, reason):
                self._waiting.remove(parcel)
        return parcels, jobs

    def _packed(self, parcel: Parcel) -> tuple[LaunchJob | None, str]:
        """The job message, or why there cannot be one."""
        try:
            job = self._claims.job(parcel.claim, parcel.attempt, self._max_attempts)
            reason = too_large(job)
        except JobError as exc:
            return None, f"Firework {parcel.claim.fw_id}: {exc}"
        except (ValueError, TypeError) as exc:  # pydantic's errors are ValueErrors
            fw_id, first_line = parcel.claim.fw_id, str(exc).splitlines()[0]
            return None, f"Firework {fw_id} cannot be sent as JSON: {first_line}"
        return (job, "") if reason is None else (None, reason)
