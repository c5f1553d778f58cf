"""`portfire gce setup`: makes what an installation on Google Cloud needs, or prints how."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from commands.gce_site import add_site, project_of, site_of


def add_setup(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "setup",
        help="make topics, subscriptions, service account, roles and bucket",
        description="Make what a fleet needs in a project with billing: APIs enabled, service "
        "account, role, topics, subscriptions, bucket. What is there is left as it is.",
    )
    add_site(parser)
    parser.add_argument(
        "--dispatcher-account",
        metavar="EMAIL",
        help="a service account that gets what a dispatcher needs",
    )
    parser.add_argument(
        "--print",
        dest="form",
        choices=("gcloud", "terraform"),
        help="print it in this form, for you to run; send nothing",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make it step by step, a line for each."""
    if args.form:
        from fleet import setup_print

        write = {"gcloud": setup_print.gcloud, "terraform": setup_print.terraform}[args.form]
        # Printing needs no credentials.
        sys.stdout.write(write(site_of(args, project_of(args, None))))
        return 0
    from fleet.google_rest import GoogleRest
    from fleet.setup import set_up

    google = GoogleRest()
    for done in set_up(site_of(args, project_of(args, google)), google):
        print(done, flush=True)
    return 0
