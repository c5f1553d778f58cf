"""The storage benchmark, run small."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import storage
from benchmarks.measured import Cost
from benchmarks.storage_cases import SECTIONS
from benchmarks.storage_table import Goal, markdown, median_rows, text


@pytest.mark.parametrize("section", SECTIONS)
def test_a_quick_run_measures_every_contender(
    section: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = ["--directory", str(tmp_path), "--disk", str(tmp_path)]
    storage.main(["--quick", "--json", "--only", section, *places])
    rows = json.loads(capsys.readouterr().out)
    assert len({row["contender"] for row in rows}) > 1
    assert all(row["seconds"] > 0 for row in rows)
    judged = [row for row in rows if row["verdict"]]
    assert judged
    assert all(row["contender"].startswith("Portfire") for row in judged)


def test_a_figure_is_compared_with_the_quickest_of_the_others() -> None:
    measured = {"slow": [9.0, 9.0, 9.0], "quick": [1.0, 2.0, 90.0], "ours": [2.2, 2.2, 2.2]}
    costs = {
        name: [(Cost(seconds, cpu=0.1, memory=0), 0.0) for seconds in each]
        for name, each in measured.items()
    }
    at_most = median_rows("a case", 1, costs, {"ours": Goal(("slow", "quick"), 1.2)})[-1]
    assert at_most.figure == pytest.approx(1.1)
    assert at_most.met
    at_least = median_rows("a case", 1, costs, {"ours": Goal(("slow",), 5, at_least=True)})[-1]
    assert at_least.figure == pytest.approx(9 / 2.2)
    assert at_least.met is False
    for shown in (text([at_most, at_least]), markdown([at_most, at_least])):
        assert "1.10 times the time of slow or quick (goal: 1.2 or less)" in shown
        assert "4.09 times the speed of slow (goal: 5 or more, MISSED)" in shown
