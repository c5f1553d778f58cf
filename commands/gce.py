"""`portfire gce`: fleets of executors on Compute Engine."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from commands.gce_doctor import add_doctor
from commands.gce_make_image import add_make_image
from commands.gce_setup import add_setup
from messaging.errors import UsageError

if TYPE_CHECKING:
    from fleet.compute_engine import ComputeEngine
    from fleet.vms import Outcome, Vm

_EPILOG = (
    "VMs are called NAME-PREFIX-0, NAME-PREFIX-1, ... The project is GOOGLE_CLOUD_PROJECT or that "
    "of gcloud; zone or region may be in CLOUDSDK_COMPUTE_ZONE or CLOUDSDK_COMPUTE_REGION."
)


def add(subparsers: Any) -> None:
    """Declare the command and those below it."""
    parser = subparsers.add_parser(
        "gce",
        help="make, list, tell and delete VMs that run executors",
        description="Groups of Compute Engine VMs that run executors.",
        epilog=_EPILOG,
    )
    from commands.gce_keep import add_keep

    names = "create|keep|delete|list|set-metadata|quit-soon|quit-when-idle|make-image|doctor|setup"
    commands = parser.add_subparsers(metavar=names, required=True)
    _add_create(commands)
    add_keep(commands)
    deleting = _command(commands, "delete", _delete, "delete VMs of a prefix, all or some")
    deleting.add_argument("-y", "--yes", action="store_true", help="do not ask")
    listing = _command(commands, "list", _list, "list the VMs of a prefix, or of all", some=False)
    listing.add_argument("name_prefix", metavar="NAME-PREFIX", nargs="?", help="default: all")
    telling = _command(commands, "set-metadata", _set_metadata, "set attributes of VMs")
    _add_metadata(telling)
    telling.add_argument(
        "--remove", metavar="KEY", action="append", default=[], help="an attribute to take away"
    )
    _command(
        commands, "quit-soon", _quit_soon, "have VMs end after the jobs that they run (quit=soon)"
    )
    _command(
        commands,
        "quit-when-idle",
        _quit_when_idle,
        "have VMs end when there is nothing to do (quit=when-idle)",
    )
    add_make_image(commands)
    add_doctor(commands)
    add_setup(commands)


def _command(
    commands: Any,
    name: str,
    run: Callable[[argparse.Namespace], int],
    about: str,
    *,
    some: bool = True,
) -> argparse.ArgumentParser:
    """One below `gce`; `some`: it takes a prefix, and VMs can be chosen from it."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=about, description=about[0].upper() + about[1:] + ".", epilog=_EPILOG
    )
    parser.set_defaults(run=run)
    if some:
        parser.add_argument("name_prefix", metavar="NAME-PREFIX", help="what the VMs are called")
        many = "how many VMs (default: all there are, or with -b one)"
        parser.add_argument("-c", "--count", type=int, help=many)
        parser.add_argument("-b", "--base", type=int, help="number of the first VM (0)")
        _add_dry_run(parser)
    parser.add_argument("--project", default="", help="Google Cloud project")
    parser.add_argument("--json", action="store_true", help="a JSON object for each VM")
    return parser


def _add_dry_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-d", "--dry-run", action="store_true", help="print the requests instead of sending them"
    )


def _add_metadata(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-m",
        "--metadata",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="an attribute, such as storage=gs://my-bucket/sim; may be repeated",
    )


def _add_create(commands: Any) -> None:
    from commands.gce_template import add_template

    parser = _command(commands, "create", _create, "make VMs that run executors", some=False)
    parser.add_argument("name_prefix", metavar="NAME-PREFIX", help="what the VMs are called")
    parser.add_argument("-c", "--count", type=int, default=1, help="how many VMs (1; at most 100)")
    parser.add_argument("-b", "--base", type=int, default=0, help="number of the first VM (0)")
    parser.add_argument(
        "--min-count", type=int, default=1, help="keep none if fewer can be made (1)"
    )
    parser.add_argument("--zone", default="", help="such as europe-west4-a")
    parser.add_argument(
        "--region", default="", help="such as europe-west4: whichever of its zones has room"
    )
    _add_metadata(parser)
    add_template(parser)
    _add_dry_run(parser)


def _create(args: argparse.Namespace) -> int:
    from commands.gce_output import progress_line, report
    from commands.gce_template import engine_to_create, metadata

    # VMs that are half made must not outlive a closed terminal.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    with progress_line("Making VMs") as progress:
        engine = engine_to_create(args, progress)
        outcomes = engine.create(
            args.base, args.count, min_count=args.min_count, attributes=metadata(args.metadata)
        )
    return report("made", "not made", outcomes, as_json=args.json)


def _delete(args: argparse.Namespace) -> int:
    from commands.gce_output import progress_line, report

    engine = _engine(args)
    vms = engine.select(args.base, args.count)
    if not vms:
        return _all_seen(engine, _none(args))
    if not (args.dry_run or args.yes or agreed(vms)):
        print("portfire: nothing was deleted", file=sys.stderr)
        return 1
    with progress_line(f"Deleting {len(vms)} VMs") as progress:
        engine.progress = progress
        outcomes = engine.delete_vms(vms)
    return _all_seen(engine, report("deleted", "not deleted", outcomes, as_json=args.json))


def agreed(vms: list[Vm]) -> bool:
    """Ask on the terminal; raises UsageError when there is none."""
    from fleet.names import span

    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("to delete VMs without being asked on a terminal, say --yes")
    print(
        f"Delete {span([vm.name for vm in vms])} with their disks? [y/N] ", end="", file=sys.stderr
    )
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _list(args: argparse.Namespace) -> int:
    from commands.gce_output import table
    from commands.gce_template import endpoint, project
    from fleet.compute_engine import list_all

    if args.name_prefix is None:
        vms = list_all(project=project(args), endpoint=endpoint())
    else:
        vms = _engine(args).vms()
    if args.json:
        for vm in vms:
            print(json.dumps(vm.to_dict()))
    elif vms:
        table(vms)
    else:
        return _none(args)
    return 0


def _none(args: argparse.Namespace) -> int:
    of = f" of {args.name_prefix}" if args.name_prefix else ""
    if (getattr(args, "count", None), getattr(args, "base", None)) != (None, None):
        of += " with these numbers"
    print(f"portfire: there are no VMs{of}", file=sys.stderr)
    return 0


def _set_metadata(args: argparse.Namespace) -> int:
    from commands.gce_template import metadata

    values, remove = metadata(args.metadata), args.remove
    if both := set(values) & set(remove):
        raise UsageError(f"{min(both)} cannot be set and removed: leave out -m or --remove")
    return _tell(
        args,
        lambda engine: engine.set_metadata(args.base, args.count, remove=remove, attributes=values),
    )


def _quit_soon(args: argparse.Namespace) -> int:
    return _tell(args, lambda engine: engine.quit_soon(args.base, args.count))


def _quit_when_idle(args: argparse.Namespace) -> int:
    return _tell(args, lambda engine: engine.quit_when_idle(args.base, args.count))


def _tell(args: argparse.Namespace, change: Callable[[ComputeEngine], list[Outcome]]) -> int:
    from commands.gce_output import progress_line, report

    engine = _engine(args)
    with progress_line("Setting metadata") as progress:
        engine.progress = progress
        outcomes = change(engine)
    if not outcomes and not args.dry_run:
        return _all_seen(engine, _none(args))
    return _all_seen(engine, report("set", "not set", outcomes, as_json=args.json))


def _all_seen(engine: ComputeEngine, code: int) -> int:
    """The exit code: what was not seen (a warning told of it) was not changed either."""
    return 1 if engine.api.unseen else code


def _engine(args: argparse.Namespace) -> ComputeEngine:
    """For VMs that there are: found in whichever zone they are."""
    from commands.gce_template import endpoint, project
    from fleet.compute_engine import ComputeEngine

    return ComputeEngine(
        args.name_prefix,
        project=project(args),
        dry_run=getattr(args, "dry_run", False),
        endpoint=endpoint(),
    )
