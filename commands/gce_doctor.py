"""`portfire gce doctor`: what an installation on Google Cloud lacks, and what mends it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from commands.gce_site import add_site, project_of, site_of
from messaging.errors import UsageError

if TYPE_CHECKING:
    from fleet.finding import Finding


def add_doctor(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "doctor",
        help="check credentials, rights, topics, bucket, image and network",
        description="Check what a fleet needs: a line for each part, and for what is missing the "
        "command that mends it. Changes nothing. Exit code 1 when something is missing.",
    )
    add_site(parser)
    parser.add_argument(
        "-f", "--family", help="disk image family (debian-12); PROJECT/FAMILY for another project's"
    )
    parser.add_argument("--subnet", help="of the VMs (default)")
    parser.add_argument(
        "--no-address", action="store_true", help="VMs are to have no external IP address"
    )
    parser.add_argument("--json", action="store_true", help="a JSON object for each check")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what is found, as it is found."""
    problems = 0
    for finding in _findings(args):
        print(json.dumps(finding.to_dict()) if args.json else finding, flush=True)
        problems += finding.state == "problem"
    return 1 if problems else 0


def _findings(args: argparse.Namespace) -> Iterator[Finding]:
    from fleet.doctor import examine
    from fleet.finding import problem
    from fleet.google_rest import GoogleRest

    try:
        google = GoogleRest()
    except UsageError as exc:
        yield problem("credentials", str(exc))
        return
    yield from examine(google, site_of(args, project_of(args, google)))
