"""Running a program: how it ends, what it leaves, what it costs."""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import psutil
import pytest

from executor.command import Command, Ended, failure_reason, run_command
from executor.tail import tail
from messaging.errors import JobError, JobInterrupted
from tests.waiting import wait_until


def command(tmp_path: Path, *argv: str, timeout: float = 60.0, **env: str) -> Command:
    return Command(
        argv=argv,
        cwd=tmp_path,
        env=env,
        stdout=tmp_path / "stdout",
        stderr=tmp_path / "stderr",
        timeout=timeout,
    )


def shell(tmp_path: Path, line: str, timeout: float = 60.0) -> Ended:
    return run_command(command(tmp_path, "/bin/sh", "-c", line, timeout=timeout))


def running(mark: str) -> list[psutil.Process]:
    """Processes whose command line has `mark` as an argument."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        arguments = process.info["cmdline"] or []
        if mark in arguments and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


@pytest.fixture
def seconds(request: pytest.FixtureRequest) -> str:
    """A sleeping time that no other process has, to find the sleepers by."""
    return f"{60 + abs(hash((request.node.nodeid, os.getpid()))) % 10**9 / 10**9:.9f}"


def test_success_has_time_and_cpu(tmp_path: Path) -> None:
    ended = shell(tmp_path, "echo out; echo err >&2")
    assert ended.exit_code == 0
    assert ended.metrics["seconds"] > 0
    assert (tmp_path / "stdout").read_text() == "out\n"
    assert (tmp_path / "stderr").read_text() == "err\n"
    assert failure_reason(ended, "x", 60) is None


def test_peak_memory_is_the_programs_own(tmp_path: Path) -> None:
    hungry = "data = bytearray(300_000_000); import time; time.sleep(1.5)"
    ended = run_command(command(tmp_path, sys.executable, "-c", hungry))
    assert 300_000_000 < ended.metrics["memory"] < 400_000_000
    small = shell(tmp_path, "sleep 0.3")
    assert small.metrics["memory"] < 20_000_000


def test_an_exit_code_is_told(tmp_path: Path) -> None:
    ended = shell(tmp_path, "exit 3")
    assert ended.exit_code == 3
    assert failure_reason(ended, "prog", 60) == (
        "prog failed with exit code 3: see the end of its output"
    )


def test_a_signal_is_told_by_name(tmp_path: Path) -> None:
    ended = shell(tmp_path, "kill -SEGV $$")
    assert ended.exit_code == -signal.SIGSEGV
    assert ended.signal_name == "SIGSEGV"
    assert "killed by SIGSEGV" in str(failure_reason(ended, "prog", 60))
    assert "perhaps SIGKILL" in str(failure_reason(Ended(exit_code=137), "prog", 60))


def test_a_program_that_does_not_exist_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"'no-such-program' was not found in PATH .* install it"):
        run_command(command(tmp_path, "no-such-program"))


def test_a_program_that_may_not_run_is_named(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("echo hello")
    with pytest.raises(JobError, match=r"chmod \+x"):
        run_command(command(tmp_path, "./script"))
    (tmp_path / "script").chmod(0o755)
    with pytest.raises(JobError, match="could not be started"):
        run_command(command(tmp_path, "./script"))


def test_a_program_is_found_in_path_and_in_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for place in ("bin/here", "there"):
        (tmp_path / place).write_text("#!/bin/sh\necho $0")
        (tmp_path / place).chmod(0o755)
    path = f"{tmp_path}/bin:{os.environ['PATH']}"
    assert run_command(command(tmp_path, "here", PATH=path)).exit_code == 0
    assert run_command(command(tmp_path, "there", PATH=path)).exit_code == 0
    assert (tmp_path / "stdout").read_text() == f"{tmp_path}/bin/here\n{tmp_path}/there\n"


def test_200_mb_of_output_stay_out_of_memory(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ended = shell(tmp_path, "yes 0123456789012345678901234567890123456789 | head -c 200000000")
    last = tail(tmp_path / "stdout")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert ended.exit_code == 0
    assert (tmp_path / "stdout").stat().st_size == 200_000_000
    assert len(last.splitlines()) == 100
    assert grown < 20_000  # KiB
    (tmp_path / "stdout").unlink()


def test_a_timeout_ends_the_whole_tree(tmp_path: Path, seconds: str) -> None:
    line = f"sleep {seconds} & (setsid sleep {seconds} &) ; sleep {seconds}"
    ended = shell(tmp_path, line, timeout=0.5)
    assert ended.timed_out
    assert running(seconds) == []
    assert failure_reason(ended, "prog", 0.5) == (
        "prog timed out after 0.5 s: raise timeout, or give it less to do"
    )


def test_a_program_that_ignores_sigterm_is_killed(tmp_path: Path, seconds: str) -> None:
    ended = shell(tmp_path, f"trap '' TERM; sleep {seconds}; sleep {seconds}", timeout=0.3)
    assert ended.timed_out
    assert ended.exit_code == -signal.SIGKILL
    assert running(seconds) == []


def test_what_a_program_leaves_running_is_ended_with_it(tmp_path: Path, seconds: str) -> None:
    ended = shell(tmp_path, f"(setsid sleep {seconds} &); nohup sleep {seconds} & exit 0")
    assert ended.exit_code == 0
    assert running(seconds) == []


def test_an_orphan_without_its_environment_is_ended_if_it_was_seen(
    tmp_path: Path, seconds: str
) -> None:
    ended = shell(tmp_path, f"env -i /usr/bin/setsid sleep {seconds} & sleep 0.5")
    assert ended.exit_code == 0
    assert running(seconds) == []


def test_a_neighbours_processes_are_left_alone(tmp_path: Path, seconds: str) -> None:
    """FireWorks' background tasks run programs in other threads of the same process."""
    neighbour = threading.Thread(target=shell, args=(tmp_path, f"sleep {seconds}", 30.0))
    neighbour.start()
    (sleeper,) = wait_until(lambda: running(seconds)[-1:], what="the neighbour")
    shell(tmp_path, "true")
    shell(tmp_path, "sleep 60", timeout=0.1)
    assert sleeper.is_running()
    sleeper.kill()
    neighbour.join(20.0)
    assert not neighbour.is_alive()


@contextmanager
def interrupted_when_running(mark: str) -> Iterator[None]:
    """SIGTERM to this thread, as a slot's child gets it, once a process with `mark` runs."""

    def interrupt(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's signature
        raise JobInterrupted("the job was stopped")

    def send() -> None:
        wait_until(lambda: running(mark), what="the program")
        os.kill(os.getpid(), signal.SIGTERM)

    previous = signal.signal(signal.SIGTERM, interrupt)
    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        sender.join()
        signal.signal(signal.SIGTERM, previous)


def test_an_interruption_ends_the_whole_tree_and_goes_on(tmp_path: Path, seconds: str) -> None:
    before = set(psutil.Process().children())
    with pytest.raises(JobInterrupted), interrupted_when_running(seconds):
        shell(tmp_path, f"(setsid sleep {seconds} &); sleep {seconds}")
    assert running(seconds) == []
    assert set(psutil.Process().children()) <= before  # no zombie either


def test_the_tail_of_a_long_line_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"x" * 1_000_000 + b"\xff\n")
    assert len(tail(tmp_path / "log")) <= 64 * 1024
    assert tail(tmp_path / "log").endswith("\ufffd\n")
    assert tail(tmp_path / "none") == ""
