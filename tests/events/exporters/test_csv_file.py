"""The CSV file, through restarts, crashes and full disks."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from events.exporters.csv_file import CsvExporter
from events.metrics import JobMetrics, MetricsCollector
from messaging.errors import UsageError
from tests.events.timelines import Story


def job(name: str) -> JobMetrics:
    collector = MetricsCollector()
    reason = 'line one\nand "two", quoted'
    events = Story(name).run(state="FIZZLED", phase="execution", reason=reason)
    [record] = [record for event in events for record in collector.add(event)]
    return record


def write(path: Path, *names: str) -> None:
    exporter = CsvExporter(path)
    for name in names:
        exporter.finished(job(name))
        exporter.flush()
    exporter.close()


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_are_appended_over_restarts(tmp_path: Path) -> None:
    path = tmp_path / "jobs.csv"
    write(path, "1", "2")
    write(path)
    write(path, "3")
    found = rows(path)
    assert [row["job"] for row in found] == ["1", "2", "3"]
    assert found[0]["reason"] == 'line one and "two", quoted'
    assert list(found[0]) == JobMetrics.names()


@pytest.mark.parametrize("kept", [3, 150, -1, -60, -400])
def test_a_file_that_a_crash_has_cut_goes_on_with_whole_rows(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "jobs.csv"
    write(path, "1", "2")
    whole = path.read_bytes()
    path.write_bytes(whole[:kept])
    write(path, "3")
    found = rows(path)
    assert found[-1]["job"] == "3"
    assert all(row["state"] == "FIZZLED" and row["reason"] for row in found)
    assert path.read_bytes().count(b"executor,") == 1
    assert len(found) == whole[:kept].count(b"\n") - (b"\n" in whole[:kept]) + 1


def test_a_file_with_other_columns_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    for text in ("a,b\n1,2\n", "a,b", JobMetrics.header().replace("\t", ",") + ",more\n"):
        path.write_text(text)
        with pytest.raises(UsageError, match="has other columns"):
            CsvExporter(path)
        assert path.read_text() == text


def test_two_writers_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "jobs.csv"
    first = CsvExporter(path)
    with pytest.raises(UsageError, match="another portfire metrics"):
        CsvExporter(path)
    first.close()
    write(path, "1")


@pytest.mark.parametrize("name", [".", "missing/jobs.csv"])
def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot write"):
        CsvExporter(tmp_path / name)


class _OnFullDisk(CsvExporter):
    """Whose disk is full while it is said to be: half of the data is written."""

    full = False

    def _write(self, data: memoryview) -> int:
        if self.full and len(data) < 100:
            raise OSError(28, "No space left on device")
        return super()._write(data[: len(data) // 2] if self.full else data)


def test_rows_wait_for_room_on_a_full_disk(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "jobs.csv"
    exporter = _OnFullDisk(path)
    exporter.full = True
    for name in "12":
        exporter.finished(job(name))
        exporter.flush()
    assert rows(path) == []
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    exporter.full = False
    exporter.close()
    assert [row["job"] for row in rows(path)] == ["1", "2"]
