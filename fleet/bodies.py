"""The requests that make VMs, as JSON: built here for sending, for a dry run, and for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fleet.plan import Plan


def zonal(plan: Plan, name: str, kind: str) -> dict[str, Any]:
    """The body of instances.insert for a VM of this machine type."""
    body = plan.template.instance(name, plan.place.zone, plan.place.project, kind, plan.extra)
    assert isinstance(body, dict)
    return body


def regional(plan: Plan, names: Sequence[str]) -> dict[str, Any]:
    """The body of regionInstances.bulkInsert: as many as there is room for, or too few and none."""
    template = plan.template
    properties = template.properties(plan.place.region, plan.place.project, plan.extra)
    body: dict[str, Any] = {
        "count": len(names),
        "minCount": min(plan.min_count, len(names)),
        "perInstanceProperties": {name: {} for name in names},
        # Any zone that has room; the default is a single zone for all.
        "locationPolicy": {"targetShape": "ANY"},
        "instanceProperties": properties,
    }
    if len(template.machine_types) == 1:
        properties["machineType"] = template.machine_types[0]
    else:
        body["instanceFlexibilityPolicy"] = {
            "instanceSelections": {
                f"choice-{rank}": {"rank": rank, "machineTypes": [kind]}
                for rank, kind in enumerate(template.machine_types)
            }
        }
    return body
