"""The loop that keeps a fleet: look, decide, act. Everything it decides is in `decision`."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from fleet.keeping.decision import Decision, End, decide
from fleet.keeping.fleet import KeptFleet
from fleet.keeping.memory import Making, Memory, after_making
from fleet.keeping.policy import Policy
from fleet.keeping.record import Record
from fleet.keeping.sight import Demand, Sight
from fleet.vms import Outcome
from messaging.errors import PortfireError, ServiceError, UsageError

log = logging.getLogger(__name__)

#: While looking fails, one line says so this often, in seconds.
_SAY_AGAIN = 300.0


class Keeper:
    """Keeps one fleet. For one thread, which may be interrupted anywhere."""

    def __init__(
        self,
        fleet: KeptFleet,
        demand: Callable[[], Demand],
        policy: Policy,
        interval: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`demand` counts the work; `interval` is the pause between two looks, in seconds."""
        self._fleet, self._demand, self._policy = fleet, demand, policy
        self._interval = interval
        self._clock = clock
        self._memory = Memory()
        self._looked_at = clock()
        self._said = ""
        self._silent_until = 0.0
        self.record = Record()

    @property
    def has_looked(self) -> bool:
        """Whether it has seen the fleet at all."""
        return self._memory.looked

    def run(self) -> End:
        """Keep it until nothing is left to do; VMs may be left. Why it ended.

        What befalls the first look, and what is wrong with the first VMs asked for, is raised
        (PortfireError); later it is told of, and tried again.
        """
        pause = threading.Event()
        while True:
            decision = self._step()
            if decision is not None and decision.end is not None:
                return decision.end
            if decision is None or decision.make is None:
                pause.wait(self._interval)

    def preview(self) -> Decision:
        """What would be done first; nothing is."""
        return decide(self._look(), self._memory, self._policy)

    def _step(self) -> Decision | None:
        """Look, decide, act; None when it could not be looked."""
        try:
            sight = self._look()
        except PortfireError as exc:
            if not self._memory.looked:
                raise
            self._complain(exc)
            return None
        self._silent_until = 0.0
        decision = decide(sight, self._memory, self._policy)
        self._memory = decision.memory
        self._tell(sight, decision)
        if decision.remove:
            for outcome in self._fleet.remove(decision.remove):
                log.log(logging.INFO if outcome.ok else logging.WARNING, "deleted: %s", outcome)
        if decision.make is not None and decision.end is None:
            self._make(decision.make)
        return decision

    def _look(self) -> Sight:
        demand = self._demand()
        vms, unseen = self._fleet.look()
        now = self._clock()
        self.record.add_time(vms, now - self._looked_at)
        self._looked_at = now
        return Sight(now=now, demand=demand, vms=vms, unseen=unseen)

    def _make(self, making: Making) -> None:
        log.info("making %s", making)
        try:
            outcomes = self._fleet.make(making)
        except (UsageError, ServiceError) as exc:
            if isinstance(exc, UsageError) and not self._memory.next_number:
                raise  # the first ones ever: nothing that was asked for is right
            log.warning("%s", exc)
            outcomes = []
        made = self._fleet.made(outcomes, making.offer)
        self.record.add_made(
            spot=making.offer.spot, count=len(made), refused=making.count - len(made)
        )
        now = self._clock()
        self._memory = after_making(self._memory, making, made, now, self._policy)
        for line in _reasons([outcome for outcome in outcomes if not outcome.ok]):
            log.warning("%s", line)
        if len(made) < making.count:
            rest = self._memory.rests[making.offer]
            log.warning("%s is not asked for %.0f s", making.offer, rest.seconds)

    def _tell(self, sight: Sight, decision: Decision) -> None:
        self.record.lost += len(decision.lost)
        for vm in decision.lost:
            log.warning("lost: %s in %s, while there was work", vm.name, vm.zone)
        living = decision.memory.living.values()
        spot = sum(vm.spot for vm in living)
        line = f"{len(living)} VMs ({spot} Spot); {sight.demand}"
        if decision.waits:
            line += "; more are wanted, and none is to be had now"
        if line != self._said:
            log.info("%s", line)
        self._said = line

    def _complain(self, error: PortfireError) -> None:
        now = self._clock()
        if now >= self._silent_until:
            log.warning("%s; looking again until it works", error)
            self._silent_until = now + _SAY_AGAIN


def _reasons(failed: list[Outcome]) -> list[str]:
    """One line for each reason, not for each of a hundred VMs."""
    alike: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in failed:
        alike.setdefault((outcome.zone, outcome.code), []).append(outcome)
    lines = []
    for outcomes in alike.values():
        first = outcomes[0] if len(outcomes) == 1 else replace(outcomes[0], name="")
        count = "" if len(outcomes) == 1 else f"{len(outcomes)} VMs"
        lines.append(f"not made: {count}{first}")
    return lines
