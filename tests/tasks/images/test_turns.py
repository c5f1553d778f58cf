"""One pull for all who want an image, whatever becomes of them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from executor.images.pull_turns import pull_turn
from messaging.errors import JobError, JobInterrupted, ServiceError
from tests.tasks.images.published import PublishedImage
from tests.tasks.images.registry_proxy import Answer, RegistryProxy
from tests.waiting import wait_until

ROOT = Path(__file__).parents[3]
Slot = subprocess.Popen[bytes]


@pytest.fixture
def slot(tmp_path: Path) -> Iterator[Callable[..., Slot]]:
    """Starts a process that wants an image."""
    started: list[Slot] = []

    def start(name: str, policy: str = "if-not-present") -> Slot:
        command = [sys.executable, "-m", "tests.tasks.images.pulling", name, policy, str(tmp_path)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def outcome(slot: Slot) -> dict[str, Any]:
    said, _ = slot.communicate(timeout=60)
    told: dict[str, Any] = json.loads(said)
    return told


def waits(pid: int) -> bool:
    """Whether the process waits for a lock on a file."""
    lines = Path("/proc/locks").read_text().splitlines()
    return any("->" in line and "FLOCK" in line and f" {pid} " in line for line in lines)


@pytest.fixture
def held(
    image: PublishedImage, proxy: RegistryProxy, slot: Callable[..., Slot]
) -> Callable[..., tuple[Slot, list[Slot]]]:
    """Starts a slot that pulls and gets no answer, and others that wait for it."""

    def start(number: int, policy: str) -> tuple[Slot, list[Slot]]:
        proxy.gate.clear()
        holder = slot(image.at(proxy.address), policy)
        wait_until(lambda: any("/manifests/" in path for path in proxy.asked), what="the pull")
        others = [slot(image.at(proxy.address), policy) for _ in range(number)]
        for other in others:
            wait_until(partial(waits, other.pid), timeout=60, what="a slot that waits")
        return holder, others

    return start


@pytest.mark.parametrize("policy", ["if-not-present", "always"])
def test_one_pull_serves_all_who_ask_meanwhile(
    image: PublishedImage, proxy: RegistryProxy, held: Callable[..., Any], policy: str
) -> None:
    holder, others = held(3, policy)
    proxy.gate.set()
    outcomes = [outcome(slot) for slot in (holder, *others)]
    assert [told["id"] for told in outcomes] == [image.id] * 4
    pulls = [told["pulls"] for told in outcomes]
    # With "always", the holder's pull began before the others asked: one of them pulls again.
    assert pulls[0] == 1
    assert sum(pulls) == (1 if policy == "if-not-present" else 2)


def test_a_failed_pull_fails_all_who_ask_meanwhile(
    proxy: RegistryProxy, held: Callable[..., Any]
) -> None:
    refusal = Answer.error(404, "MANIFEST_UNKNOWN", "manifest unknown")
    proxy.fault = lambda _method, path: refusal if "/manifests/" in path else None
    holder, others = held(3, "if-not-present")
    proxy.gate.set()
    outcomes = [outcome(slot) for slot in (holder, *others)]
    assert all("there is no such image" in told["error"] for told in outcomes)
    assert sum(told["pulls"] for told in outcomes) == 2


def test_a_killed_slot_does_not_keep_its_turn(
    image: PublishedImage, proxy: RegistryProxy, held: Callable[..., Any]
) -> None:
    holder, (other,) = held(1, "if-not-present")
    holder.kill()
    proxy.gate.set()
    assert outcome(other) == {"id": image.id, "pulls": 1}


def test_an_interruption_ends_the_wait_for_a_turn(tmp_path: Path) -> None:
    def interrupt(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's signature
        raise JobInterrupted("the job was stopped")

    taken, done = threading.Event(), threading.Event()

    def hold() -> None:
        with pull_turn(tmp_path, "image"):
            taken.set()
            wait_until(lambda: waits(os.getpid()), what="the one who waits")
            os.kill(os.getpid(), signal.SIGTERM)
            done.wait(20.0)

    previous = signal.signal(signal.SIGTERM, interrupt)
    holder = threading.Thread(target=hold)
    holder.start()
    try:
        taken.wait(20.0)
        with pytest.raises(JobInterrupted), pull_turn(tmp_path, "image"):
            raise AssertionError("the turn is another's")
    finally:
        done.set()
        holder.join()
        signal.signal(signal.SIGTERM, previous)


def learnt(
    directory: Path, end: BaseException | None, platform: str | None = None
) -> bool | Exception:
    """What one learns who waited for another's pull, which had this `end`: whether to pull."""
    found: list[bool | Exception] = []

    def late() -> None:
        with pull_turn(directory, "image") as turn:
            try:
                with turn.pulling(platform) as needed:
                    found.append(needed)
            except (JobError, ServiceError) as exc:
                found.append(exc)

    waiting = threading.Thread(target=late)
    with pull_turn(directory, "image") as turn:
        waiting.start()
        wait_until(lambda: waits(os.getpid()), what="the one who waits")
        with contextlib.suppress(JobError, ServiceError, JobInterrupted), turn.pulling(None):
            if end is not None:
                raise end
    waiting.join()
    return found[0]


def test_a_pull_counts_for_who_asked_before_it_began(tmp_path: Path) -> None:
    assert learnt(tmp_path, None) is False
    refused = learnt(tmp_path, JobError("no such image"))
    assert isinstance(refused, JobError)
    assert str(refused) == "no such image"
    assert isinstance(learnt(tmp_path, ServiceError("away")), ServiceError)
    assert learnt(tmp_path, None) is False


def test_a_pull_that_was_interrupted_or_for_another_platform_does_not_count(
    tmp_path: Path,
) -> None:
    assert learnt(tmp_path, JobInterrupted("stopped")) is True
    assert learnt(tmp_path, None, platform="linux/arm64") is True


def test_a_pull_that_began_before_does_not_count(tmp_path: Path) -> None:
    for _ in range(2):
        with pull_turn(tmp_path, "image") as turn, turn.pulling(None) as needed:
            assert needed


def test_garbage_in_the_file_means_a_pull_of_ones_own(tmp_path: Path) -> None:
    for garbage in (b"{", b"[]", b'{"serial": 9}{', b'{"nothing": 1}', b"\xff" * 9000):
        with pull_turn(tmp_path, "image"):
            pass
        (file,) = tmp_path.iterdir()
        file.write_bytes(garbage)
        for _ in range(2):
            with pull_turn(tmp_path, "image") as turn, turn.pulling(None) as needed:
                assert needed


def test_a_directory_that_cannot_be_used_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceError, match="cannot take turns"), pull_turn(tmp_path / "file", "x"):
        pass
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    with pytest.raises(ServiceError, match="belongs to somebody else"), pull_turn(tmp_path, "x"):
        pass


def test_by_default_all_of_one_user_take_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pull_turn(None, "image"):
        pass
    (directory,) = tmp_path.iterdir()
    assert directory.name == f"portfire-images-{os.getuid()}"
    assert directory.stat().st_mode & 0o077 == 0
