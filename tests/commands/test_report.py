"""`portfire report`: files in, files out, and one line for what goes wrong."""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Iterable
from pathlib import Path

import pytest

import portfire
from events.types import Event
from tests.events.timelines import Story, executor_event


def _record(path: Path, events: Iterable[Event], cut: bytes = b"") -> Path:
    path.write_bytes(b"".join(event.encode() + b"\n" for event in events) + cut)
    return path


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    events = [
        executor_event("executor.ready", 0, threads=1, host="vm-1"),
        *Story("1").run(0),
        *Story("2").run(20, "FIZZLED", phase="stage-out", reason="no space left"),
        executor_event("executor.stopped", 31),
    ]
    return _record(tmp_path / "events.jsonl", events)


def test_a_page_a_picture_and_a_table_are_written(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, picture, table = (tmp_path / name for name in ("r.html", "r.png", "r.csv"))
    argv = ["report", str(recording), "-o", str(page), "--png", str(picture), "--csv", str(table)]
    assert portfire.main(argv) == 0
    assert "no space left" in page.read_text(encoding="utf-8")
    assert picture.read_bytes().startswith(b"\x89PNG")
    with table.open(encoding="utf-8", newline="") as rows:
        assert [row["state"] for row in csv.DictReader(rows)] == ["COMPLETED", "FIZZLED"]
    assert f"{page}: 2 runs of jobs, 1 failed" in capsys.readouterr().out


def test_a_table_can_be_printed_with_nothing_else_on_standard_output(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "r.png"
    assert portfire.main(["report", str(recording), "--csv", "-", "--png", str(picture)]) == 0
    printed = capsys.readouterr()
    rows = csv.DictReader(printed.out.splitlines())
    assert [row["state"] for row in rows] == ["COMPLETED", "FIZZLED"]
    assert f"{picture}: 2 runs" in printed.err


def test_a_cut_file_with_garbage_and_newer_types_is_reported_on(tmp_path: Path) -> None:
    events = [*Story("1").run(), executor_event("job.reincarnated", 1, id="1")]
    recording = _record(tmp_path / "cut.jsonl", events, b"garbage\n" + events[0].encode()[:40])
    table = tmp_path / "jobs.csv"
    assert portfire.main(["report", str(recording), "--csv", str(table)]) == 0
    assert len(table.read_text(encoding="utf-8").splitlines()) == 2


def test_since_narrows_the_report_down(recording: Path, tmp_path: Path) -> None:
    table = tmp_path / "jobs.csv"
    assert portfire.main(["report", str(recording), "--since", "15s", "--csv", str(table)]) == 0
    with table.open(encoding="utf-8", newline="") as rows:
        assert [row["job"] for row in csv.DictReader(rows)] == ["2"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "portfire events record"),
        (["missing.jsonl"], "missing.jsonl"),
        (["EVENTS", "--since", "3 weeks"], "--since 3 weeks"),
        (["EVENTS", "-o", "no/such/r.html"], "no/such/r.html"),
        (["EVENTS", "--png", "r.docx"], "r.docx"),
        (["EVENTS", "-l", "no_launchpad.yaml"], "no_launchpad.yaml"),
        (["EMPTY"], "no event"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: list[str],
    told: str,
    recording: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.jsonl").touch()
    names = {"EVENTS": str(recording), "EMPTY": "empty.jsonl"}
    assert portfire.main(["report", *(names.get(word, word) for word in arguments)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


@pytest.mark.parametrize(("flag", "package"), [("-o", "bokeh"), ("--png", "matplotlib")])
def test_a_missing_package_is_named_with_its_extra(
    flag: str,
    package: str,
    recording: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert portfire.main(["report", str(recording), flag, str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert package in line
    assert "pip install 'portfire[report]'" in line
