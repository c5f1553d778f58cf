"""`portfire gce keep`: a fleet as large as the LaunchPad's work deserves, until that is done."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
from typing import TYPE_CHECKING, Any

from messaging.errors import PortfireError

if TYPE_CHECKING:
    from fleet.keeping.fleet import KeptFleet
    from fleet.keeping.keeper import Keeper

log = logging.getLogger(__name__)

#: For so long VMs that are not needed any more may take to delete themselves, in seconds.
_DISMISSAL_SECONDS = 60.0
_EPILOG = (
    "The pool is the FWorker's (-w); its dispatcher must run elsewhere. Ctrl-C ends it, and "
    "deletes the VMs unless --on-exit keep; a second one leaves them. Started again, it takes over "
    "the VMs that are there."
)


def add_keep(commands: Any) -> None:
    """Declare it below `gce`."""
    from commands import options
    from commands.gce_template import add_template

    about = "keep as many VMs as the LaunchPad's work deserves, until it is done"
    parser = commands.add_parser(
        "keep", help=about, description=about[0].upper() + about[1:] + ".", epilog=_EPILOG
    )
    parser.set_defaults(run=_keep, speaks=True)
    add = parser.add_argument
    add("name_prefix", metavar="NAME-PREFIX", help="what the VMs are called")
    add("--max", type=int, metavar="N", help="VMs at the same time, at most")
    add("--min", type=int, default=0, metavar="M", help="VMs while there is work, at least (0)")
    add("--zone", default="", metavar="ZONE[,ZONE...]", help="where, in this order")
    add("--region", default="", metavar="REGION[,...]", help="the same; in any of its zones")
    _add_behaviour(parser)
    add("--project", default="", help="Google Cloud project")
    add(
        "-m",
        "--metadata",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="an attribute of the VMs; threads=N are the jobs that each runs at the same time, "
        "else as many as the machine type has CPUs; may be repeated",
    )
    options.add_launchpad(parser)
    add_template(parser)
    add("-d", "--dry-run", action="store_true", help="print what would be sent first, and end")
    add("-y", "--yes", action="store_true", help="do not ask (--sweep)")
    add("--json", action="store_true", help="at the end, what was done as a JSON object")


def _add_behaviour(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--on-exit",
        choices=("delete", "keep"),
        default="delete",
        help="what becomes of the VMs when it is interrupted (delete); when the work is done, none "
        "is left in either case",
    )
    add("--no-fallback", action="store_true", help="with --spot: never VMs that are not Spot")
    add(
        "--preemptions",
        type=int,
        default=3,
        metavar="N",
        help="after so many within half an hour, and a quarter of the VMs of that kind, another "
        "kind is asked for (3)",
    )
    add(
        "--worth",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="a VM is made only for so much work for each of its slots, going by how long jobs "
        "have taken (120); 0: for any",
    )
    add("--stay", action="store_true", help="do not end when there is nothing to do")
    add(
        "--quiet",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="there must be nothing to do for so long before it ends (30)",
    )
    add(
        "--interval",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="between two looks (10)",
    )
    add(
        "--sweep",
        action="store_true",
        help="instead of keeping any, delete all VMs of the prefix, such as a keeper that was "
        "killed left; asks first",
    )


def _keep(args: argparse.Namespace) -> int:
    from commands import launchpads
    from commands.gce_kept import described
    from commands.gce_template import check_seconds

    if args.sweep:
        return _sweep(args)
    fleet, policy = described(args)
    check_seconds("--interval", args.interval)
    check_seconds("--quiet", args.quiet, least=0.0)
    check_seconds("--worth", args.worth, least=0.0)
    source = launchpads.open_source(args, allow_embedded=False)
    from fleet.keeping.demand import LaunchPadDemand
    from fleet.keeping.keeper import Keeper

    demand = LaunchPadDemand(source.launchpad, source.fworker)
    keeper = Keeper(fleet, demand.look, policy, args.interval)
    if args.dry_run:
        return _show(keeper, fleet)
    # VMs must not outlive a closed terminal.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    return _run(args, keeper, fleet)


def _run(args: argparse.Namespace, keeper: Keeper, fleet: KeptFleet) -> int:
    from fleet.keeping.decision import End

    try:
        end = keeper.run()
        failing = end is End.FAILING
        log.log(logging.ERROR if failing else logging.INFO, "%s: the fleet is dissolved", end.value)
        left = fleet.dismiss(_DISMISSAL_SECONDS)
    except BaseException as exc:
        if keeper.has_looked:
            _leave(args, fleet, interrupted=isinstance(exc, KeyboardInterrupt))
        raise
    print(json.dumps(keeper.record.to_dict()) if args.json else keeper.record)
    if failing:
        raise PortfireError(
            f"{end.value}: see why in the serial console of a VM made by `portfire gce create` "
            "with the same flags, or in its journal with -m development=true"
        )
    return _left(left)


def _leave(args: argparse.Namespace, fleet: KeptFleet, *, interrupted: bool) -> None:
    """What becomes of the VMs when there is no end as there should be."""
    if args.on_exit == "keep":
        log.warning(
            "the VMs of %s are kept: the same command takes them over, --sweep deletes them",
            args.name_prefix,
        )
        return
    if interrupted:
        log.warning("interrupted: deleting the VMs; interrupt again to leave them")
    _left(fleet.delete_all())


def _left(names: list[str]) -> int:
    from fleet.creation import left_over

    if names:
        print(f"portfire: {left_over(names)}", file=sys.stderr)
    return 1 if names else 0


def _show(keeper: Keeper, fleet: KeptFleet) -> int:
    """The first requests, unsent."""
    decision = keeper.preview()
    fleet.remove(decision.remove)
    if decision.make is not None:
        log.info("would make %s", decision.make)
        fleet.make(decision.make)
    else:
        why = "no more VMs are wanted" if decision.end is None else "nothing is to be done"
        print(f"portfire: {why}", file=sys.stderr)
    return 0


def _sweep(args: argparse.Namespace) -> int:
    from commands.gce import agreed
    from commands.gce_kept import engine_of
    from fleet.keeping.fleet import KeptFleet

    engine = engine_of(args)
    vms = engine.vms()
    if not vms:
        print(f"portfire: there are no VMs of {args.name_prefix}", file=sys.stderr)
        return 0
    if args.dry_run:
        engine.delete_vms(vms)
        return 0
    if not (args.yes or agreed(vms)):
        print("portfire: nothing was deleted", file=sys.stderr)
        return 1
    left = KeptFleet(engine, lambda _offer: engine).delete_all()
    for vm in vms:
        if vm.name not in left:
            print(f"deleted: {vm.name} in {vm.zone}")
    return _left(left)
