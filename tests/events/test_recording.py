"""Reading recordings: whatever is in the file, its events come out."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.recording import MAX_LINE_BYTES, read_events
from events.types import Event, JobEvent, JobStarted
from messaging.errors import UsageError
from tests.events.recordings import job_events, write_lines

EVENTS = job_events("a", 4)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def test_events_come_typed_in_the_order_of_the_file_with_all_their_fields(file: Path) -> None:
    started = JobStarted(executor="e", id="b", seq=1)
    write_lines(file, [*EVENTS, started])
    reader = read_events(str(file))
    assert list(reader) == [*EVENTS, started]
    assert (reader.skipped, reader.cut) == (0, False)


def test_unknown_types_come_as_plain_events_and_other_majors_are_counted(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_text(
        '{"version": "1.9", "type": "fleet.grown", "executor": "e", "size": 3}\r\n'
        "\n"
        '{"version": "2.0", "type": "job.started", "executor": "e", "id": "1"}\n'
        "garbage\n"
        '{"version": "1.9", "type": "job.paused", "executor": "e", "id": "1"}\n'
    )
    reader = read_events(file)
    with caplog.at_level(logging.WARNING):
        grown, paused = reader
    assert (type(grown), type(paused)) == (Event, JobEvent)
    assert reader.skipped == 2
    assert len(caplog.records) == 1
    assert "left out 2" in caplog.text
    assert "line 3: event has version '2.0'" in caplog.text


def test_a_cut_last_line_is_told_in_one_line(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_lines(file, EVENTS, end=EVENTS[0].encode()[:40])
    reader = read_events(file)
    with caplog.at_level(logging.WARNING):
        assert list(reader) == EVENTS
    assert (reader.skipped, reader.cut) == (0, True)
    assert [record.message.split(" (")[0] for record in caplog.records] == [
        f"{file} ends in the middle of a line: its last event is left out"
    ]


def test_a_whole_last_line_without_its_end_is_an_event(file: Path) -> None:
    write_lines(file, EVENTS[:3], end=EVENTS[3].encode())
    reader = read_events(file)
    assert list(reader) == EVENTS
    assert not reader.cut


@given(st.integers(min_value=0), st.integers(min_value=1))
def test_an_event_behind_one_that_was_cut_anywhere_is_found(
    tmp_path_factory: pytest.TempPathFactory, event: int, length: int
) -> None:
    cut = EVENTS[event % len(EVENTS)].encode()
    cut = cut[: 1 + length % (len(cut) - 1)]
    file = tmp_path_factory.getbasetemp() / "cut.jsonl"
    write_lines(file, EVENTS[:1], end=cut + EVENTS[1].encode() + b"\n" + EVENTS[2].encode())
    reader = read_events(file)
    assert list(reader) == EVENTS[:3]
    assert reader.skipped == 1


@given(st.binary(max_size=300))
def test_no_content_whatever_ends_the_reading(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    file = tmp_path_factory.getbasetemp() / "garbage.jsonl"
    write_lines(file, [], end=content + b"\n" + EVENTS[0].encode() + b"\n")
    assert list(read_events(file)) == EVENTS[:1]


def test_a_line_without_an_end_is_passed_over_without_being_kept(file: Path) -> None:
    with file.open("wb") as out:
        for _ in range(3):
            out.write(b"x" * MAX_LINE_BYTES)
        out.write(b"\n" + EVENTS[0].encode() + b"\n")
    reader = read_events(file)
    assert list(reader) == EVENTS[:1]
    assert reader.skipped == 1


@pytest.mark.parametrize("name", ["nowhere.jsonl", "nowhere.parquet", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot read the recording"):
        read_events(tmp_path / name)


def test_a_parquet_file_that_is_none_is_named(tmp_path: Path) -> None:
    file = tmp_path / "events.parquet"
    file.write_bytes(b"PAR1 and no more")
    with pytest.raises(UsageError, match=r"events\.parquet is no whole Parquet file"):
        read_events(file)


def test_a_parquet_file_of_something_else_is_named(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "events.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"weather": ["fine"]}), file)
    with pytest.raises(UsageError, match="no column `json`"):
        read_events(file)


def test_without_pyarrow_a_parquet_file_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "events.parquet").write_bytes(b"")
    with pytest.raises(UsageError, match=r"pip install 'portfire\[parquet\]'"):
        read_events(tmp_path / "events.parquet")


def test_the_json_is_given_as_it_was_published(file: Path) -> None:
    text = '{"type":"job.started", "executor":"e","id":"1","timestamp":1.10,"none":null}'
    file.write_text(text + "\n")
    (record,) = read_events(file).records()
    assert record.data == text.encode()
    assert json.loads(record.event.encode())["timestamp"] == 1.1
