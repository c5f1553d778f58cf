"""One chaos run: start everything, strike, wait for the end, check, and count."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fireworks import LaunchPad
from pymongo.errors import PyMongoError

from benchmarks import chaos_checks
from benchmarks.chaos_blows import Blows
from benchmarks.chaos_jobs import Containers, Jobs, runs
from benchmarks.chaos_site import LEASE_SECONDS, Site
from benchmarks.chaos_tap import Tap
from benchmarks.database import ended_by_sigterm
from dispatcher.launch_documents import attempt_of
from messaging.names import Names

_LOOK_SECONDS = 0.2
#: What an executor that died last has to be cleared up after by another, at most.
_SETTLE_SECONDS = 3 * LEASE_SECONDS
_NAME = "chaos"
#: Not that of Python's own fork server whose parent is killed while it asks for a child.
_TRACEBACK = r"^Traceback.*\n(?!.*multiprocessing/forkserver\.py)"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to run, and how hard to strike."""

    jobs: int
    seed: int = 1
    dispatchers: int = 2
    executors: int = 3
    threads: int = 2
    #: How long each job takes.
    job_seconds: float = 0.1
    #: From one kill to the next; None: nobody is killed, and nothing restarted.
    seconds_between_kills: float | None = 1.0
    #: After so many there are no more; None: until all is done.
    most_kills: int | None = None
    broker_restarts: int = 3
    mongodb_restarts: int = 2
    #: One job of so many runs a container; 0: none does.
    container_every: int = 0
    image: str = ""
    #: When to give up.
    timeout: float = 3600.0


@dataclass(kw_only=True)
class Outcome:
    """What came of a run."""

    fireworks: int
    #: From the release of the jobs to the completion of the last.
    seconds: float = 0.0
    kills: Counter[str] = field(default_factory=Counter)
    #: Daemons that ended though nobody killed them (MongoDB was away at their start).
    own_ends: Counter[str] = field(default_factory=Counter)
    #: Runs of jobs beyond the first: begun, and carried through to their end.
    begun_again: int = 0
    ended_again: int = 0
    #: How often launches were published beyond the first time.
    republished: int = 0
    #: Updates that one dispatcher finished from the journal of another.
    repaired: int = 0
    #: Ends reported beyond the first of a launch: each was refused if nothing is violated.
    refused: int = 0
    violations: list[str] = field(default_factory=list)


def run(plan: Plan, directory: Path) -> Outcome:
    """Carry out the plan in an empty directory. Main thread only: SIGTERM ends it as well.

    Raises AssertionError when something cannot start; what goes wrong later is in the outcome's
    `violations`. The daemons' logs stay.
    """
    ledger, store = directory / "ledger", directory / "store"
    for each in (ledger, store):
        each.mkdir(parents=True)
    containers = None
    if plan.container_every:
        containers = Containers(
            every=plan.container_every, image=plan.image, mark=uuid.uuid4().hex, store=store
        )
    jobs = Jobs(plan.jobs, ledger, plan.job_seconds, containers)
    outcome = Outcome(fireworks=len(jobs.expected()))
    with ended_by_sigterm(), Site(directory, plan.threads) as site:
        launchpad = _launchpad(site)
        site.start(_launchpad_file(site, launchpad), plan.dispatchers, plan.executors)
        with closing(Tap(site.address, Names(_NAME))) as tap:
            for workflow in jobs.workflows():
                launchpad.add_wf(workflow)
            outcome.seconds = _strike_until_done(plan, site, launchpad, outcome)
            outcome.violations += _checked(site, launchpad, jobs, ledger, store)
            outcome.republished = _republished(launchpad)
            outcome.violations += _ended(site, containers)
            if count := site.said("", _TRACEBACK):
                outcome.violations.append(f"{count} tracebacks in the daemons' logs")
            outcome.refused = tap.repeated
        launchpad.connection.close()
        _count(outcome, site, ledger)
    return outcome


def _launchpad(site: Site) -> Any:
    address = site.mongodb.address
    # Short: it is asked again and again while MongoDB is away.
    patience = {"serverSelectionTimeoutMS": 2000, "socketTimeoutMS": 20000}
    launchpad = LaunchPad(
        address.host, address.port, _NAME, strm_lvl="CRITICAL", mongoclient_kwargs=patience
    )
    launchpad.reset("", require_password=False)
    return launchpad


def _launchpad_file(site: Site, launchpad: Any) -> Path:
    file = site.directory / "my_launchpad.yaml"
    file.write_text(
        f"host: {launchpad.host}\nport: {launchpad.port}\nname: {_NAME}\nstrm_lvl: ERROR\n"
    )
    return file


def _strike_until_done(plan: Plan, site: Site, launchpad: Any, outcome: Outcome) -> float:
    """Until every Firework is COMPLETED, or one never will be; the seconds that took."""
    began = time.monotonic()
    blows = None
    if plan.seconds_between_kills is not None:
        blows = Blows(
            plan.seed,
            plan.seconds_between_kills,
            plan.most_kills,
            broker_restarts=plan.broker_restarts,
            mongodb_restarts=plan.mongodb_restarts,
        )
    states: Counter[str] = Counter()
    while states["COMPLETED"] < outcome.fireworks:
        if "FIZZLED" in states or time.monotonic() - began > plan.timeout:
            outcome.violations.append(f"given up with Fireworks {dict(states)}")
            break
        time.sleep(_LOOK_SECONDS)
        site.watch_over()
        states = _states(launchpad) or states
        if blows is not None:
            blows.strike(site, states["COMPLETED"] / outcome.fireworks)
    return time.monotonic() - began


def _states(launchpad: Any) -> Counter[str]:
    """How many Fireworks are in each state; nothing while MongoDB is away."""
    try:
        found = launchpad.fireworks.aggregate([{"$sortByCount": "$state"}])
        return Counter({one["_id"]: one["count"] for one in found})
    except PyMongoError:
        return Counter()


def _checked(site: Site, launchpad: Any, jobs: Jobs, ledger: Path, store: Path) -> list[str]:
    """What is wrong with the LaunchPad and the outputs, once the dispatchers have had their time.

    The daemons are kept running: what a killed one left is theirs to put right.
    """
    expected = jobs.expected()
    return _settled(
        site,
        lambda: [
            *chaos_checks.launchpad_violations(launchpad, expected),
            *chaos_checks.run_violations(ledger, expected),
            *chaos_checks.output_violations(store, jobs.with_containers()),
        ],
    )


def _ended(site: Site, containers: Containers | None) -> list[str]:
    """End the daemons; what they left: containers, private directories, processes."""
    left = _settled(site, lambda: _left_by_the_dead(site, containers))
    left += site.stop()
    return left + _settled(
        None, lambda: [f"process {each.pid} is left: {each.cmdline()}" for each in site.processes()]
    )


def _left_by_the_dead(site: Site, containers: Containers | None) -> list[str]:
    private = [f"{path} is left" for path in site.workdir.glob("**/.portfire-*")]
    return private + [f"container {name} is left" for name in _containers(containers)]


def _containers(containers: Containers | None) -> list[str]:
    if containers is None:
        return []
    # Imported late: only these need the Docker SDK.
    import docker

    with closing(docker.DockerClient(timeout=60)) as client:
        wanted: Any = {"label": f"chaos={containers.mark}"}
        found = client.containers.list(all=True, filters=wanted, ignore_removed=True)
        return [str(container.name) for container in found]


def _settled(site: Site | None, check: Callable[[], list[str]]) -> list[str]:
    """What the check finds, after the time that the daemons may take for it; [] at once if fine."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    while True:
        if site is not None:
            site.watch_over()
        try:
            wrong = check()
        except PyMongoError as exc:
            wrong = [f"MongoDB does not answer: {exc}"]
        if not wrong or time.monotonic() > deadline:
            return wrong
        time.sleep(_LOOK_SECONDS)


def _republished(launchpad: Any) -> int:
    """How often launches were published beyond the first time."""
    return sum(attempt_of(launch) - 1 for launch in launchpad.launches.find({}))


def _count(outcome: Outcome, site: Site, ledger: Path) -> None:
    outcome.kills, outcome.own_ends = site.kills, site.ends
    began, ended = runs(ledger, "began"), runs(ledger, "ended")
    outcome.begun_again = sum(began.values()) - len(began)
    outcome.ended_again = sum(ended.values()) - len(ended)
    outcome.repaired = site.said("dispatcher", r"finished an interrupted update")
