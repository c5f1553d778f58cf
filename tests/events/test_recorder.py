"""A recording has every event once, whatever happens to the recorder."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from events import event_log
from events.event_log import EventLog
from events.parquet import journal_of, merge_journal
from events.recorder import Recorder, default_name, delete_recording, line_of, subscription_of
from events.recording import read_events
from messaging.broker import Broker
from messaging.errors import UsageError
from messaging.names import Names
from messaging.pubsub import Outgoing, PubSub, Received
from messaging.settings import PubSubSettings
from tests.commands.programs import start
from tests.events.recordings import ids, job_events, publish, write_lines
from tests.waiting import wait_until

EVENTS = job_events("a", 9)
IDS = [event.event_id for event in EVENTS]


@contextmanager
def running(recorder: Recorder) -> Iterator[Recorder]:
    """The recorder at work in a thread; at the end it has stopped."""
    thread = threading.Thread(target=recorder.run)
    thread.start()
    try:
        yield recorder
    finally:
        recorder.stop()
        thread.join(30)
    assert not thread.is_alive()


def recorded(recorder: Recorder, count: int) -> Callable[[], bool]:
    return lambda: recorder.recorded >= count


@pytest.fixture(params=["events.jsonl", "events.parquet"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param.endswith("parquet"):
        pytest.importorskip("pyarrow")
    return tmp_path / str(request.param)


def test_a_recording_goes_on_where_it_ended(
    settings: PubSubSettings, pubsub: PubSub, names: Names, file: Path
) -> None:
    first = Recorder(settings, file)
    assert not first.goes_on
    with running(first):
        publish(pubsub, names.events, EVENTS[:3])
        wait_until(recorded(first, 3), what="three events")
    publish(pubsub, names.events, EVENTS[3:6])
    second = Recorder(settings, file)
    assert second.goes_on
    with running(second):
        publish(pubsub, names.events, [*EVENTS[:2], *EVENTS[6:]])
        wait_until(recorded(second, 6), what="the others")
    assert sorted(ids(file)) == IDS
    assert sorted(record.data for record in read_events(file).records()) == [
        event.encode() for event in EVENTS
    ]
    assert not journal_of(file).exists()


def test_what_was_written_and_not_acknowledged_is_there_once(
    broker: Broker, settings: PubSubSettings, pubsub: PubSub, names: Names, tmp_path: Path
) -> None:
    file = tmp_path / "events.jsonl"
    first = Recorder(settings, file)
    publish(pubsub, names.events, EVENTS[:4])
    broker.fail_next("Acknowledge", grpc.StatusCode.UNAVAILABLE)
    with running(first):
        wait_until(recorded(first, 4), what="four events")
    # As after its lease: the message comes again.
    publish(pubsub, names.events, EVENTS[:5])
    with running(Recorder(settings, file)) as second:
        wait_until(recorded(second, 1), what="the new one")
    assert sorted(ids(file)) == IDS[:5]


def test_nothing_is_acknowledged_that_could_not_be_written(
    settings: PubSubSettings,
    pubsub: PubSub,
    names: Names,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "events.jsonl"
    recorder = Recorder(settings, file, "full")
    publish(pubsub, names.events, EVENTS[:3])

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UsageError, match=r"events\.jsonl: No space left on device"):
            recorder.run()
    assert file.read_bytes() == b""
    with running(Recorder(settings, file, "full")) as second:
        wait_until(recorded(second, 3), what="the events to come again")
    assert sorted(ids(file)) == IDS[:3]


@pytest.mark.parametrize("parquet", [False, True])
def test_a_recorder_that_is_killed_loses_nothing(
    settings: PubSubSettings, pubsub: PubSub, names: Names, tmp_path: Path, parquet: bool
) -> None:
    file = tmp_path / ("events.parquet" if parquet else "events.jsonl")
    flags = ("--emulator-host", str(settings.emulator_host), "--prefix", settings.prefix)
    process = start(tmp_path, "events", *flags, "record", file.name, "--name", "killed")
    try:
        wait_until(
            lambda: (
                pubsub.topic_exists(names.events)
                and pubsub.subscription_exists(subscription_of(settings, "killed"))
            ),
            timeout=60.0,
            what="the subscription",
        )
        publish(pubsub, names.events, EVENTS[:4])
        journal = journal_of(file) if parquet else file
        wait_until(lambda: journal.stat().st_size > 0, timeout=60.0, what="events in the file")
    finally:
        process.kill()
        process.communicate()
    with journal.open("ab") as cut:
        cut.write(EVENTS[8].encode()[:50])
    publish(pubsub, names.events, EVENTS[4:])
    with running(Recorder(settings, file, "killed")) as recorder:
        assert recorder.goes_on
        wait_until(lambda: sorted(ids(file)) == IDS, timeout=90.0, what="all events")
    assert sorted(ids(file)) == IDS


def test_garbage_is_left_out_and_counted_and_newer_events_are_kept(
    settings: PubSubSettings, pubsub: PubSub, names: Names, file: Path
) -> None:
    newer = b'{"version": "9.0",\n "type": "job.started", "event_id": "newer"}'
    with running(Recorder(settings, file)) as recorder:
        pubsub.publish(names.events, [Outgoing(b"\xff{"), Outgoing(b"[]"), Outgoing(newer)])
        publish(pubsub, names.events, EVENTS[:1])
        wait_until(recorded(recorder, 2), what="both events")
    assert recorder.malformed == 2
    reader = read_events(file)
    assert [event.event_id for event in reader] == IDS[:1]
    assert reader.skipped == 1, "the newer one is in the file"


def test_an_event_without_id_or_time_gets_those_of_its_message() -> None:
    body = b'{"type": "job.started", "executor": "e", "id": "1",\n "more": [1.50, "\\n"]}'
    message = Received("ack", body, {}, "4711", 12.5, 0)
    event_id, line = line_of(message)
    assert event_id == "4711"
    assert line.count(b"\n") == 1
    assert b'"timestamp": 12.5' in line
    assert b'"more": [1.5, "\\n"]' in line


def test_the_journal_of_an_interrupted_merge_adds_nothing_twice(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    file = tmp_path / "events.parquet"
    write_lines(journal_of(file), EVENTS[:5])
    left = journal_of(file).read_bytes()
    merge_journal(file)
    assert ids(file) == IDS[:5]
    journal_of(file).write_bytes(left + EVENTS[5].encode() + b"\n")
    merge_journal(file)
    assert ids(file) == IDS[:6]
    assert sorted(path.name for path in tmp_path.iterdir()) == [file.name]


def test_two_recorders_do_not_share_a_file(settings: PubSubSettings, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    with (
        running(Recorder(settings, file)),
        pytest.raises(UsageError, match="written by another `portfire events record`"),
    ):
        Recorder(settings, file)


@pytest.mark.parametrize("content", ["My thesis\nwith no end", "x", '[{"version": 1}]\n{'])
def test_somebody_elses_file_is_left_alone(tmp_path: Path, content: str) -> None:
    file = tmp_path / "thesis.txt"
    file.write_text(content)
    with pytest.raises(UsageError, match="no recording of events"):
        EventLog(file)
    assert file.read_text() == content


def test_a_cut_end_is_taken_off_and_a_whole_one_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "events.jsonl"
    for length in range(len(EVENTS[1].encode())):
        write_lines(file, EVENTS[:1], end=EVENTS[1].encode()[:length])
        EventLog(file).close()
        assert file.read_bytes() == EVENTS[0].encode() + b"\n"
    with caplog.at_level(logging.WARNING):
        write_lines(file, [], end=EVENTS[0].encode() + b"\n" + EVENTS[1].encode())
        caplog.clear()
        EventLog(file).close()
    assert ids(file) == IDS[:2]
    assert not caplog.records


def test_a_log_knows_the_last_of_a_long_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log, "_TAIL_BYTES", 3 * len(EVENTS[0].encode()))
    monkeypatch.setattr(event_log, "_BLOCK_BYTES", 50)
    file = tmp_path / "events.jsonl"
    write_lines(file, EVENTS, end=EVENTS[0].encode()[:130])
    log = EventLog(file)
    assert log.append((e.event_id, e.encode() + b"\n") for e in EVENTS[-2:]) == 0
    log.close()
    assert ids(file) == IDS


def test_a_file_that_was_replaced_is_not_written_to(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    log = EventLog(file)
    file.rename(tmp_path / "rotated.jsonl")
    with pytest.raises(UsageError, match="removed or replaced"):
        log.append([("1", b"{}\n")])
    log.close()


def test_a_deleted_recording_keeps_no_more_events(
    settings: PubSubSettings, pubsub: PubSub, tmp_path: Path
) -> None:
    with running(Recorder(settings, tmp_path / "events.jsonl")) as recorder:
        pass
    assert recorder.name == default_name(tmp_path / "events.jsonl")
    delete_recording(settings, recorder.name)
    assert not pubsub.subscription_exists(subscription_of(settings, recorder.name))
    with pytest.raises(UsageError, match="there is no recording"):
        delete_recording(settings, recorder.name)


@pytest.mark.parametrize("name", ["two words", "-x", "a/b", "x" * 101])
def test_a_name_that_pubsub_does_not_take_is_refused(
    settings: PubSubSettings, tmp_path: Path, name: str
) -> None:
    with pytest.raises(UsageError, match="--name"):
        Recorder(settings, tmp_path / "events.jsonl", name)
    assert not (tmp_path / "events.jsonl").exists()
