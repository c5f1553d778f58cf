"""Flags of `portfire gce create` that describe its VMs, and the environment of all of `gce`."""

from __future__ import annotations

import argparse
import logging
import math
import os
from typing import TYPE_CHECKING, Any

from messaging.errors import UsageError

if TYPE_CHECKING:
    from fleet.changes import Progress
    from fleet.compute_engine import ComputeEngine

log = logging.getLogger(__name__)


def add_template(parser: argparse.ArgumentParser) -> None:
    """Declare them. Each but the first few is one of gcloud's options, as ``-o`` has them all."""
    add = parser.add_argument
    add(
        "-f", "--family", help="disk image family (debian-12); PROJECT/FAMILY for another project's"
    )
    add(
        "-o",
        "--options",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="an option as `gcloud compute instances create` has it, such as boot-disk-size=50GB; "
        "may be repeated, and goes over flags",
    )
    add("--spot", action="store_true", help="cheap VMs that may be preempted at any time")
    add(
        "--machine-type",
        metavar="TYPE[,TYPE...]",
        help="what is to be had is taken, in this order (e2-standard-2)",
    )
    add("--service-account", metavar="EMAIL", help="what the VMs act as (the project's default)")
    add("--scopes", metavar="SCOPE[,SCOPE...]", help="access scopes (cloud-platform)")
    add("--disk-size", metavar="SIZE", help="of the boot disk, such as 50GB (the image's)")
    add("--disk-type", metavar="TYPE", help="such as pd-ssd (the machine type's own)")
    add("--labels", metavar="KEY=VALUE[,...]", help="labels of the VMs, for bills and searches")
    add("--no-address", action="store_true", help="no external IP address: needs Cloud NAT")
    add("--max-run", metavar="TIME", help="delete each VM after this, such as 8h, whatever it does")
    add(
        "--startup",
        choices=("auto", "script", "cos", "none"),
        default="auto",
        help="how the image comes to run an executor: a script that installs it (Debian, Ubuntu), "
        "a container (container-optimised OS), or it does by itself; default: by the family",
    )
    add(
        "--timeout",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="how long making them may take; VMs not there by then are deleted (600)",
    )


def check_seconds(flag: str, seconds: float, least: float | None = None) -> None:
    """Raises UsageError unless it is a time of `least` or more, or without it of more than 0."""
    if not math.isfinite(seconds) or (seconds <= 0 if least is None else seconds < least):
        bound = "more than 0" if least is None else f"{least:g} or more"
        raise UsageError(f"{flag} is {seconds:g}: a number of seconds, {bound}")


def project(args: argparse.Namespace) -> str:
    """The project that flag or environment name; "" is gcloud's."""
    return args.project or os.environ.get("GOOGLE_CLOUD_PROJECT", "")


def endpoint() -> str:
    """Another server than Google's, by gcloud's own variable for it."""
    return os.environ.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE", "")


def metadata(texts: list[str]) -> dict[str, str]:
    """Attributes from ``-m`` flags; raises UsageError."""
    from fleet.attributes import parse, two_in_one

    attributes = parse(texts)
    for key in two_in_one(attributes):
        log.warning("-m %s=%s is one attribute: for two, write -m twice", key, attributes[key])
    return attributes


def engine_to_create(args: argparse.Namespace, progress: Progress) -> ComputeEngine:
    """What makes the VMs that these flags describe; raises UsageError."""
    from fleet.api import Patience
    from fleet.compute_engine import ComputeEngine
    from fleet.options import parse

    check_seconds("--timeout", args.timeout)
    zone, region = args.zone, args.region
    if not zone and not region:
        zone = os.environ.get("CLOUDSDK_COMPUTE_ZONE", "")
        region = "" if zone else os.environ.get("CLOUDSDK_COMPUTE_REGION", "")
    return ComputeEngine(
        args.name_prefix,
        project=project(args),
        zone=zone,
        region=region,
        options={**given_options(args), **parse(args.options)},
        startup=args.startup,
        dry_run=args.dry_run,
        endpoint=endpoint(),
        patience=Patience(operation=args.timeout),
        progress=progress,
    )


def given_options(args: argparse.Namespace) -> dict[str, Any]:
    """The flags as the options that they are short for."""
    home, _, family = (args.family or "").rpartition("/")
    options = {
        "image-family": family,
        "image-project": home,
        "machine-type": args.machine_type,
        "service-account": args.service_account,
        "scopes": args.scopes,
        "boot-disk-size": args.disk_size,
        "boot-disk-type": args.disk_type,
        "labels": args.labels,
        "max-run-duration": args.max_run,
    }
    given = {key: value for key, value in options.items() if value}
    switches = {"preemptible": args.spot, "no-address": args.no_address}
    return {**given, **{key: "" for key, on in switches.items() if on}}
