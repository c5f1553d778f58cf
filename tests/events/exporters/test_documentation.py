"""docs/metrics.md and the Grafana dashboard name what there is, and all of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from events.exporters.meters import METERS

ROOT = Path(__file__).parents[3]


def test_the_page_has_every_meter_as_it_is() -> None:
    page = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `portfire_")]
    expected = [
        f"| `{meter.name}` | {meter.kind} | {', '.join(f'`{name}`' for name in meter.labels)} "
        f"| {meter.help} |"
        for meter in METERS
    ]
    assert rows == expected


def test_the_dashboard_asks_for_every_meter_and_for_no_other() -> None:
    dashboard = json.loads((ROOT / "examples/grafana/portfire.json").read_text(encoding="utf-8"))
    named: set[str] = set()
    for text in _texts(dashboard["panels"]):
        named |= set(re.findall(r"portfire_\w+", text))
    series = {
        f"{meter.name}{ending}": meter.name
        for meter in METERS
        for ending in (("_bucket", "_sum", "_count") if meter.kind == "histogram" else ("",))
    }
    assert named <= set(series)
    assert {series[name] for name in named} == {meter.name for meter in METERS}


def test_the_dashboard_filters_and_groups_by_labels_that_there_are() -> None:
    dashboard = json.loads((ROOT / "examples/grafana/portfire.json").read_text(encoding="utf-8"))
    labels = {meter.name: {*meter.labels, "le"} for meter in METERS}
    for panel in dashboard["panels"]:
        assert panel["title"]
        for target in panel["targets"]:
            expression = target["expr"]
            [*names] = re.findall(r"portfire_\w+", expression)
            known = set.union(*(labels[re.sub(r"_bucket$", "", name)] for name in names))
            used = set(re.findall(r"(\w+)=", expression))
            for group in re.findall(r"by \(([^)]*)\)", expression):
                used |= {name.strip() for name in group.split(",")}
            used |= set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert used <= known, expression


def test_panels_have_their_own_places() -> None:
    dashboard = json.loads((ROOT / "examples/grafana/portfire.json").read_text(encoding="utf-8"))
    cells: list[tuple[int, int]] = []
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        columns = range(place["x"], place["x"] + place["w"])
        rows = range(place["y"], place["y"] + place["h"])
        cells += [(x, y) for x in columns for y in rows]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for each in value.values() for text in _texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in _texts(each)]
    return [value] if isinstance(value, str) else []
