"""Flags that say what an installation on Google Cloud is, for `portfire gce doctor` and `setup`."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from messaging.errors import UsageError

if TYPE_CHECKING:
    from fleet.google_rest import GoogleRest
    from fleet.site import Site


def add_site(parser: argparse.ArgumentParser) -> None:
    """Declare them."""
    add = parser.add_argument
    add("--project", default="", help="Google Cloud project (env GOOGLE_CLOUD_PROJECT)")
    add("--prefix", default="", help="prefix of topic names (env PORTFIRE_PREFIX; portfire)")
    add(
        "--pool",
        dest="pools",
        metavar="POOL",
        action="append",
        help="a pool of executors (env PORTFIRE_POOL; default); may be repeated",
    )
    add(
        "--service-account",
        metavar="EMAIL",
        default="portfire-executor",
        help="what VMs act as: an email, or the name of one in the project (portfire-executor)",
    )
    add(
        "--bucket",
        default="",
        help="bucket for the jobs' files (env STORAGE, if that is gs://BUCKET)",
    )
    add(
        "--region",
        default="",
        help="where VMs are to be, such as europe-west4 (env CLOUDSDK_COMPUTE_REGION)",
    )


def project_of(args: argparse.Namespace, google: GoogleRest | None) -> str:
    """The project of flag, environment or credentials; raises UsageError when none says it."""
    named = args.project or os.environ.get("GOOGLE_CLOUD_PROJECT", "")
    project = named or (google.default_project if google else "")
    if not project:
        raise UsageError("no Google Cloud project: name one by --project or GOOGLE_CLOUD_PROJECT")
    return str(project)


def site_of(args: argparse.Namespace, project: str) -> Site:
    """The installation that flags and environment describe; raises UsageError."""
    from fleet.site import Site

    environ = os.environ
    storage = environ.get("STORAGE", "")
    home, _, family = (getattr(args, "family", None) or "").rpartition("/")
    chosen: dict[str, Any] = {}
    if family:
        from fleet.template import VmTemplate

        chosen["image"] = (family, home or VmTemplate(image_family=family).image_home(project))
    if subnet := getattr(args, "subnet", None):
        chosen["subnet"] = subnet
    return Site(
        project=project,
        prefix=args.prefix or environ.get("PORTFIRE_PREFIX") or "portfire",
        pools=tuple(args.pools or [environ.get("PORTFIRE_POOL") or "default"]),
        service_account=args.service_account,
        bucket=args.bucket or (storage if storage.startswith("gs://") else ""),
        region=args.region or environ.get("CLOUDSDK_COMPUTE_REGION", ""),
        no_address=getattr(args, "no_address", False),
        dispatcher_account=getattr(args, "dispatcher_account", None) or "",
        **chosen,
    )
