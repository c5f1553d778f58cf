"""`portfire gce make-image`: a disk image on which executors start in seconds."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from messaging.errors import UsageError

if TYPE_CHECKING:
    from fleet.compute_engine import ComputeEngine
    from fleet.image_making import Waiting
    from fleet.image_order import ImageOrder

_EPILOG = (
    "A VM, NAME-builder-0, installs Docker and Portfire and switches itself off; an image is made "
    "of its disk, and the VM is deleted, also when it fails or is interrupted. Then "
    "`portfire gce create -f FAMILY` makes VMs that install nothing."
)


def add_make_image(commands: Any) -> None:
    """Declare it below `gce`."""
    about = "make a disk image that holds Docker and Portfire"
    parser = commands.add_parser(
        "make-image", help=about, description=about[0].upper() + about[1:] + ".", epilog=_EPILOG
    )
    parser.set_defaults(run=_make_image)
    add = parser.add_argument
    add("name", metavar="NAME", help="of the image, such as portfire-1")
    add("-f", "--family", default="portfire", help="what the image is one of (portfire)")
    add(
        "--source-family",
        default="debian-12",
        metavar="FAMILY",
        help="image that it is made from, Debian or Ubuntu (debian-12); PROJECT/FAMILY for another "
        "project's",
    )
    add("--zone", default="", help="of the VM, such as europe-west4-a")
    add(
        "-m",
        "--metadata",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="portfire_package= what pip installs, or a wheel at gs://; pip_packages= packages of "
        "your own Firetasks, with spaces between; may be repeated",
    )
    _add_vm(parser)
    add("--project", default="", help="Google Cloud project")
    add("--json", action="store_true", help="at the end, a JSON object")
    add("-d", "--dry-run", action="store_true", help="print the requests instead of sending them")


def _add_vm(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "-o",
        "--options",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="an option of the VM, as `portfire gce create` has it; may be repeated",
    )
    add("--machine-type", metavar="TYPE[,TYPE...]", help="of the VM (e2-standard-2)")
    add("--disk-size", metavar="SIZE", help="of the VM and the image, such as 20GB (the source's)")
    add("--service-account", metavar="EMAIL", help="what the VM acts as, to read a wheel at gs://")
    add("--no-address", action="store_true", help="no external IP address: needs Cloud NAT")
    add("--labels", metavar="KEY=VALUE[,...]", help="labels of the VM and the image")
    add(
        "--timeout",
        type=float,
        default=1800.0,
        metavar="SECONDS",
        help="how long installing may take, and again making the image (1800)",
    )


def _make_image(args: argparse.Namespace) -> int:
    from commands.gce_output import status_line
    from commands.gce_template import check_seconds, metadata
    from fleet.image_making import ATTRIBUTE, Waiting, make_image
    from fleet.image_order import ImageOrder
    from fleet.options import pairs

    check_seconds("--timeout", args.timeout)
    order = ImageOrder(
        name=args.name, family=args.family, labels=pairs("--labels", args.labels or "")
    )
    attributes = metadata(args.metadata)
    if reserved := set(attributes) & {*ATTRIBUTE, "startup-script"}:
        raise UsageError(f"-m {min(reserved)}: this is make-image's own")
    waiting = Waiting(timeout=args.timeout)
    engine = _engine(args, order, waiting)
    # A VM must not outlive a closed terminal.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    with status_line() as tell:
        make_image(engine, order, attributes, waiting, tell)
    if not args.dry_run:
        _report(args, order, engine.api.project)
    return 0


def _report(args: argparse.Namespace, order: ImageOrder, project: str) -> None:
    if args.json:
        print(json.dumps({"name": order.name, "family": order.family, "project": project}))
        return
    print(f"made: image {order.name} of family {order.family}")
    print(
        f"portfire: VMs of it: portfire gce create NAME-PREFIX -f {order.family}", file=sys.stderr
    )


def _engine(args: argparse.Namespace, order: ImageOrder, waiting: Waiting) -> ComputeEngine:
    from commands.gce_template import endpoint, project
    from fleet.api import Patience
    from fleet.compute_engine import ComputeEngine
    from fleet.options import parse
    from fleet.template import VmTemplate

    home, _, family = args.source_family.rpartition("/")
    if family.startswith("cos-"):
        raise UsageError(
            "--source-family is container-optimised OS, on which nothing is installed: Debian or "
            "Ubuntu; its VMs take a container by -m portfire_image="
        )
    given = {
        "image-family": family,
        "image-project": home,
        "machine-type": args.machine_type,
        "boot-disk-size": args.disk_size,
        "service-account": args.service_account,
        "labels": args.labels,
    }
    options: dict[str, Any] = {key: value for key, value in given.items() if value}
    if args.no_address:
        options["no-address"] = ""
    options.update(parse(args.options))
    zone = options.pop("zone", "") or args.zone or os.environ.get("CLOUDSDK_COMPUTE_ZONE", "")
    if zone.count("-") < 2:
        what = f"{zone!r} is no zone" if zone else "name a place"
        raise UsageError(f"{what}: --zone is the VM's, such as europe-west4-a")
    return ComputeEngine(
        order.builder,
        project=project(args),
        zone=zone,
        template=VmTemplate(
            max_run_seconds=waiting.longest_life, description="Portfire: an image is made of it"
        ),
        options=options,
        startup="script",
        dry_run=args.dry_run,
        endpoint=endpoint(),
        patience=Patience(operation=min(600.0, args.timeout)),
    )
