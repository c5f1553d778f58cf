"""The containers benchmark, run small on a real engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import containers
from benchmarks.containers import SECTIONS


@pytest.mark.parametrize("section", SECTIONS)
def test_a_quick_run_measures_every_way(
    section: str,
    docker_engine: str,  # noqa: ARG001 - there is one
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    containers.main(["--quick", "--json", "--only", section, "--directory", str(tmp_path)])
    rows = json.loads(capsys.readouterr().out)
    measured = [row for row in rows if row["unit"]]
    assert len({row["way"] for row in measured}) > 1
    assert all(row["rate"] > 0 and row["seconds"] > 0 for row in measured)
    judged = [row for row in rows if row["verdict"]]
    assert judged
    assert all("goal: " in row["verdict"] for row in judged)
    assert list(tmp_path.iterdir()) == []


def test_where_there_is_no_engine_that_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    containers.main(["--quick"])
    assert capsys.readouterr().out == "containers: not measured: no Docker engine answers\n"
