"""Kill everything again and again while jobs run, and see whether anything is lost or done twice.

    python -m benchmarks.chaos --jobs 2000 --seed 1

Layered workflows on 3 executors with 2 slots each and 2 dispatchers. Every second a random one of
them is killed (SIGKILL) and started again, as systemd would; in the middle the broker, which loses
all that it holds, is restarted three times and MongoDB twice. At the end every launch must be
completed exactly once, every result right, nothing locked, no container and no process left: what
is not so is printed, and the exit code is 1. The same jobs run undisturbed first, to see what the
kills cost.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.chaos_run import Outcome, Plan, run

_SHOWN = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, and say by the exit code whether all held."""
    parser = _parser()
    args = parser.parse_args(arguments)
    plan = Plan(
        jobs=args.jobs,
        seed=args.seed,
        dispatchers=args.dispatchers,
        executors=args.executors,
        threads=args.threads,
        job_seconds=args.job_seconds,
        seconds_between_kills=args.seconds_between_kills,
        most_kills=args.most_kills,
        broker_restarts=args.broker_restarts,
        mongodb_restarts=args.mongodb_restarts,
        container_every=args.container_every,
        image=_image() if args.container_every else "",
        timeout=args.timeout,
    )
    directory = args.directory or Path(tempfile.mkdtemp(prefix="portfire-chaos-"))
    undisturbed = None
    if not args.no_undisturbed:
        calm = dataclasses.replace(plan, seconds_between_kills=None)
        undisturbed = run(calm, directory / "undisturbed")
        _print_violations(undisturbed)
    outcome = run(plan, directory / "chaos")
    _print_table(plan, outcome, undisturbed)
    _print_violations(outcome)
    print(f"the logs are in {directory}")
    return 1 if outcome.violations or (undisturbed and undisturbed.violations) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    plan = Plan(jobs=2000)
    parser.add_argument("--jobs", type=int, default=plan.jobs)
    parser.add_argument("--seed", type=int, default=plan.seed, help="chooses who is killed")
    parser.add_argument("--dispatchers", type=int, default=plan.dispatchers)
    parser.add_argument("--executors", type=int, default=plan.executors)
    parser.add_argument("--threads", type=int, default=plan.threads, help="slots of an executor")
    parser.add_argument("--job-seconds", type=float, default=plan.job_seconds)
    parser.add_argument("--seconds-between-kills", type=float, default=plan.seconds_between_kills)
    parser.add_argument("--most-kills", type=int, help="no more than so many (until all is done)")
    parser.add_argument("--broker-restarts", type=int, default=plan.broker_restarts)
    parser.add_argument("--mongodb-restarts", type=int, default=plan.mongodb_restarts)
    parser.add_argument(
        "--container-every",
        type=int,
        default=0,
        metavar="N",
        help="every Nth job runs a container besides (0: none); needs a Docker Engine",
    )
    parser.add_argument("--timeout", type=float, default=plan.timeout, help="give up after seconds")
    parser.add_argument(
        "--no-undisturbed", action="store_true", help="do not run undisturbed first"
    )
    parser.add_argument("--directory", type=Path, help="where to work; must not exist (temporary)")
    return parser


def _image() -> str:
    from tests.services.docker_engine import answers, make_test_image

    if not answers():
        raise SystemExit("no Docker Engine answers: start it, or leave out --container-every")
    return make_test_image()


def _print_table(plan: Plan, outcome: Outcome, undisturbed: Outcome | None) -> None:
    kills = ", ".join(f"{kind} {count}" for kind, count in sorted(outcome.kills.items()))
    rows = [
        ("Fireworks", str(outcome.fireworks)),
        ("kills", f"{sum(outcome.kills.values())}: {kills or 'none'}"),
        ("daemons that ended by themselves", str(sum(outcome.own_ends.values()))),
        ("jobs begun again", str(outcome.begun_again)),
        ("jobs carried through again", str(outcome.ended_again)),
        ("launches published again", str(outcome.republished)),
        ("interrupted updates finished by another dispatcher", str(outcome.repaired)),
        ("reported ends beyond the first, refused", str(outcome.refused)),
        ("seconds", f"{outcome.seconds:.1f}"),
    ]
    if undisturbed is not None:
        lost = outcome.seconds - undisturbed.seconds
        rows += [
            ("seconds of the undisturbed run", f"{undisturbed.seconds:.1f}"),
            ("time lost, seconds", f"{lost:.1f}"),
        ]
    rows.append(("violations", str(len(outcome.violations))))
    print(f"chaos, {plan.jobs} jobs, seed {plan.seed}")
    for name, value in rows:
        print(f"  {name:<52}{value}")


def _print_violations(outcome: Outcome) -> None:
    for line in outcome.violations[:_SHOWN]:
        print(f"VIOLATED: {line}")
    if len(outcome.violations) > _SHOWN:
        print(f"and {len(outcome.violations) - _SHOWN} more")


if __name__ == "__main__":
    sys.exit(main())
