"""What the flags of `portfire gce keep` mean: the fleet, where and of what, and the policy."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from messaging.errors import UsageError

if TYPE_CHECKING:
    from fleet.compute_engine import ComputeEngine
    from fleet.keeping.fleet import KeptFleet
    from fleet.keeping.offers import Offer
    from fleet.keeping.policy import Policy
    from fleet.template import VmTemplate


def described(args: argparse.Namespace) -> tuple[KeptFleet, Policy]:
    """The fleet and the policy that the flags mean; raises UsageError."""
    from commands.gce_template import given_options, metadata
    from fleet.keeping.fleet import KeptFleet
    from fleet.keeping.offers import make_offers
    from fleet.keeping.policy import Policy
    from fleet.options import parse, template_fields
    from fleet.template import VmTemplate

    if args.max is None:
        raise UsageError("--max N is missing: how many VMs there may be at the same time")
    fields = template_fields({**given_options(args), **parse(args.options)})
    if "project" in fields:
        args.project = fields.pop("project")
    places = _places(args, fields.pop("zone", ""))
    template = VmTemplate(**fields)
    attributes = metadata(args.metadata)
    threads = _threads(attributes)
    offers = make_offers(
        places,
        template.machine_types,
        spot=template.spot,
        on_demand=not args.no_fallback,
        threads=threads,
    )
    policy = Policy(
        offers=offers,
        max_vms=args.max,
        min_vms=args.min,
        preemptions=args.preemptions,
        worth_seconds=args.worth,
        quiet_seconds=args.quiet,
        stay=args.stay,
    )
    makers = {offer: engine_of(args, template, offer) for offer in offers}
    return KeptFleet(engine_of(args), makers.__getitem__, attributes, threads), policy


def _places(args: argparse.Namespace, zone: str) -> tuple[str, ...]:
    from fleet.options import names

    zones = zone or args.zone
    regions = "" if zone else args.region
    if not zones and not regions:
        zones = os.environ.get("CLOUDSDK_COMPUTE_ZONE", "")
        regions = "" if zones else os.environ.get("CLOUDSDK_COMPUTE_REGION", "")
    if zones and regions:
        raise UsageError("name --zone or --region, not both: a region is any of its zones")
    if not zones and not regions:
        raise UsageError(
            "name places: --zone europe-west4-a,europe-west4-b, or --region europe-west4 for "
            "wherever in it there is room"
        )
    found = names("--zone", zones or regions)
    for place in found:
        _check_place(place, is_zone=bool(zones))
    return tuple(dict.fromkeys(found))


def _check_place(place: str, *, is_zone: bool) -> None:
    """Raises UsageError for a zone as a region, and the other way round."""
    from fleet.place import Place

    Place(project="", zone=place if is_zone else "", region="" if is_zone else place)


def _threads(attributes: dict[str, str]) -> int | None:
    text = attributes.get("threads")
    if text is None:
        return None
    if not text.isdigit() or int(text) < 1:
        raise UsageError(f"-m threads={text}: the jobs that a VM runs at the same time, 1 or more")
    return int(text)


def engine_of(
    args: argparse.Namespace, template: VmTemplate | None = None, offer: Offer | None = None
) -> ComputeEngine:
    """What makes the VMs of an offer; without one, what finds and deletes those that there are."""
    from commands.gce_template import check_seconds, endpoint, project
    from fleet.api import Patience
    from fleet.compute_engine import ComputeEngine

    check_seconds("--timeout", args.timeout)
    zone = region = ""
    if template is not None and offer is not None:
        template = replace(template, spot=offer.spot, machine_types=(offer.machine_type,))
        zone, region = ("", offer.place) if offer.is_region else (offer.place, "")
    return ComputeEngine(
        args.name_prefix,
        project=project(args),
        zone=zone,
        region=region,
        template=template,
        startup=args.startup,
        dry_run=args.dry_run,
        endpoint=endpoint(),
        patience=Patience(operation=args.timeout),
    )
