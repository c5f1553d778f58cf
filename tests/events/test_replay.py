"""A replayed recording is what was recorded, in its order."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest

from events import replay as replaying
from events.recording import read_events
from events.replay import in_order, replay
from events.subscriber import Subscription, subscribe
from events.types import Event
from messaging.names import Names
from messaging.pubsub import PubSub
from messaging.settings import PubSubSettings
from tests.commands.programs import portfire
from tests.events.recordings import job_events, write_lines
from tests.waiting import wait_until

EVENTS = job_events("a", 6)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "events.jsonl"
    write_lines(path, [*EVENTS[3:], *EVENTS[:3]])
    return path


def seen(subscription: Subscription, count: int) -> list[Event]:
    found: list[Event] = []

    def enough() -> bool:
        found.extend(subscription.receive(1.0))
        return len(found) >= count

    wait_until(enough, what=f"{count} events")
    return found


@pytest.mark.parametrize("speed", [None, 10.0])
def test_events_come_again_in_order_with_their_ids_and_times(
    settings: PubSubSettings, file: Path, speed: float | None
) -> None:
    with subscribe(settings) as subscription:
        assert replay(settings, file, speed, threading.Event()) == 6
        assert seen(subscription, 6) == EVENTS


def test_a_missing_topic_is_made(settings: PubSubSettings, pubsub: PubSub, file: Path) -> None:
    assert replay(settings, file, None, threading.Event()) == 6
    assert pubsub.topic_exists(settings.names.events)


def test_a_replay_can_be_stopped_in_a_long_silence(settings: PubSubSettings, file: Path) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=replay, args=(settings, file, 1e-6, stop))
    with subscribe(settings) as subscription:
        thread.start()
        assert seen(subscription, 1) == EVENTS[:1], "what is due does not wait for what is not"
        stop.set()
        thread.join(20)
    assert not thread.is_alive()


def test_events_find_their_place_within_a_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replaying, "_WINDOW_EVENTS", 20)
    events = job_events("a", 200)
    mixed = [
        e for start in range(0, 200, 10) for e in random.sample(events[start : start + 10], 10)
    ]
    write_lines(tmp_path / "long.jsonl", mixed)
    assert [
        record.event for record in in_order(read_events(tmp_path / "long.jsonl").records())
    ] == (events)


def test_batches_keep_within_a_request(
    settings: PubSubSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replaying, "_BATCH_EVENTS", 7)
    monkeypatch.setattr(replaying, "_BATCH_BYTES", 1000)
    events = job_events("a", 40)
    write_lines(tmp_path / "long.jsonl", events)
    with subscribe(settings) as subscription:
        assert replay(settings, tmp_path / "long.jsonl", None, threading.Event()) == 40
        assert seen(subscription, 40) == events


def test_a_cut_file_is_told_in_one_line_and_the_rest_replayed(
    settings: PubSubSettings, names: Names, tmp_path: Path
) -> None:
    write_lines(tmp_path / "events.jsonl", EVENTS[:2], end=EVENTS[2].encode()[:-9])
    flags = ("--emulator-host", str(settings.emulator_host), "--prefix", names.prefix)
    with subscribe(settings) as subscription:
        ended = portfire(tmp_path, "events", *flags, "replay", "events.jsonl", "--speed", "max")
        assert seen(subscription, 2) == EVENTS[:2]
    assert ended.code == 0
    told, done = ended.errors.strip().splitlines()
    assert "events.jsonl ends in the middle of a line" in told
    assert done == "portfire: replayed 2 events of events.jsonl"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["replay", "nowhere.jsonl"], "cannot read the recording nowhere.jsonl"),
        (["replay", "nowhere.jsonl", "--speed", "0"], "--speed is '0'"),
        (["replay", "nowhere.jsonl", "--speed", "nan"], "--speed is 'nan'"),
        (["--filter", "attributes:job", "record", "x"], "--filter is for watching"),
        (["record", "/proc/events.jsonl"], "cannot write the recording /proc/events.jsonl"),
    ],
)
def test_wrong_usage_is_one_line(tmp_path: Path, arguments: list[str], expected: str) -> None:
    ended = portfire(tmp_path, "events", *arguments, PUBSUB_EMULATOR_HOST="127.0.0.1:1")
    assert ended.code == 2
    assert expected in ended.error_line
