"""`portfire run` as a user sees it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import psutil
import pytest
from fireworks import Firework, LaunchPad, PyTask, Workflow

from events.recording import read_events
from events.report.story import gather
from tests.commands.embedded import add_to_embedded
from tests.commands.programs import finish, portfire, start
from tests.faults import tasks
from tests.faults.ledger import check_completed_once, check_consistent, states
from tests.waiting import wait_until


@pytest.fixture
def launchpad_file(launchpad: LaunchPad, tmp_path: Path) -> str:
    launchpad.to_file(str(tmp_path / "lp.yaml"))
    return str(tmp_path / "lp.yaml")


def test_it_runs_all_and_prints_a_summary(
    launchpad: LaunchPad, launchpad_file: str, tmp_path: Path, log: Path
) -> None:
    launchpad.add_wf(tasks.fan(log, width=3, seconds=0.0))
    kept = tmp_path / "events.jsonl"
    ended = portfire(tmp_path, "run", "-l", launchpad_file, "--threads", "2", "--events", str(kept))
    assert ended.code == 0, ended.errors
    assert "5 COMPLETED, 0 FIZZLED" in ended.output
    assert [run.state for run in gather(read_events(kept)).runs] == ["COMPLETED"] * 5
    assert "Traceback" not in ended.errors
    check_completed_once(launchpad)
    assert sorted(tasks.ended(log)) == sorted(states(launchpad))


def test_with_json_it_prints_one_object_with_every_job(
    launchpad: LaunchPad, launchpad_file: str, tmp_path: Path, log: Path
) -> None:
    launchpad.add_wf(tasks.fan(log, width=2, seconds=0.0))
    ended = portfire(tmp_path, "run", "-l", launchpad_file, "--json")
    summary = json.loads(ended.output)
    assert (ended.code, summary["completed"], summary["fizzled"]) == (0, 4, 0)
    assert {job["name"] for job in summary["jobs"]} == set(states(launchpad))
    assert {job["state"] for job in summary["jobs"]} == {"COMPLETED"}


def test_a_failed_job_gives_exit_code_1_and_its_reason(
    launchpad: LaunchPad, launchpad_file: str, tmp_path: Path
) -> None:
    launchpad.add_wf(Firework(PyTask(func="math.sqrt", args=[-1]), name="wrong"))
    ended = portfire(tmp_path, "run", "-l", launchpad_file)
    assert ended.code == 1
    assert "0 COMPLETED, 1 FIZZLED" in ended.output
    assert "wrong" in ended.output
    assert "math domain error" in ended.output


def test_with_nothing_to_run_it_says_so(launchpad_file: str, tmp_path: Path) -> None:
    ended = portfire(tmp_path, "run", "-l", launchpad_file)
    assert (ended.code, ended.errors) == (0, "")
    assert "nothing to run" in ended.output


def test_two_at_once_share_a_launchpad(
    launchpad: LaunchPad, launchpad_file: str, tmp_path: Path, log: Path
) -> None:
    launchpad.add_wf(
        Workflow([tasks.firework(log, f"job {n}", seconds=0.2) for n in range(50)], name="many")
    )
    commands = ["run", "-l", launchpad_file, "--threads", "1", "--json"]
    both = [start(tmp_path, *commands) for _ in range(2)]
    ended = [finish(process) for process in both]
    assert [each.code for each in ended] == [0, 0], [each.errors for each in ended]
    shares = [json.loads(each.output)["completed"] for each in ended]
    assert sum(shares) == 50
    check_completed_once(launchpad)
    assert len(tasks.ended(log)) == 50


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_gives_back_what_did_not_end(
    launchpad: LaunchPad, launchpad_file: str, tmp_path: Path, log: Path, times: int
) -> None:
    gate = tmp_path / "gate"
    fireworks = [tasks.firework(log, f"job {number}", gate=gate) for number in range(6)]
    launchpad.add_wf(Workflow(fireworks, name="six"))
    (tmp_path / "settings.yml").write_text(
        f"grace_seconds: {1 if times == 1 else 600}\nheartbeat_seconds: 1\n"
    )
    process = start(tmp_path, "run", "-l", launchpad_file, "--threads", "2", "settings.yml")
    wait_until(lambda: len(tasks.began(log)) == 2, what="two jobs")
    process.send_signal(signal.SIGINT)
    if times == 2:
        wait_until(lambda: len(_children(process.pid)) > 0, what="the executor")
        process.send_signal(signal.SIGINT)
    ended = finish(process)
    assert "Traceback" not in ended.errors
    assert "6 given back" in ended.output
    assert ended.code == 130
    assert set(states(launchpad).values()) == {"READY"}
    check_consistent(launchpad)
    gate.touch()
    assert portfire(tmp_path, "run", "-l", launchpad_file, "--threads", "2").code == 0
    assert set(states(launchpad).values()) == {"COMPLETED"}
    assert len(tasks.ended(log)) == 6


def test_after_a_kill_the_next_run_takes_over_and_no_process_is_left(
    launchpad: LaunchPad, launchpad_file: str, tmp_path: Path, log: Path
) -> None:
    gate = tmp_path / "gate"
    fireworks = [tasks.firework(log, f"job {number}", gate=gate) for number in range(4)]
    launchpad.add_wf(Workflow(fireworks, name="four"))
    (tmp_path / "settings.yml").write_text("grace_seconds: 0\nheartbeat_seconds: 1\n")
    process = start(tmp_path, "run", "-l", launchpad_file, "--threads", "2", "settings.yml")
    wait_until(lambda: len(tasks.began(log)) == 2, what="two jobs")
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    psutil.wait_procs(children, timeout=20)
    assert [child for child in children if child.is_running()] == []
    gate.touch()
    ended = portfire(tmp_path, "run", "-l", launchpad_file, "--threads", "2", "settings.yml")
    assert ended.code == 0, ended.errors
    check_completed_once(launchpad)
    assert sorted(tasks.ended(log)) == sorted(states(launchpad))


def test_a_job_that_kills_its_executor_comes_to_an_end(
    launchpad: LaunchPad, launchpad_file: str, tmp_path: Path
) -> None:
    launchpad.add_wf(
        Firework(tasks.call(tasks.kill_executor, log=str(tmp_path / "log")), name="killer")
    )
    (tmp_path / "settings.yml").write_text("lease_seconds: 10\nthreads: 1\n")
    process = start(
        tmp_path, "run", "-l", launchpad_file, "settings.yml", PORTFIRE_MAX_ATTEMPTS="2"
    )
    ended = finish(process, timeout=100)
    assert ended.code == 1, ended.errors
    assert "1 FIZZLED" in ended.output
    assert "delivered 2 times without a result" in ended.output


def test_without_a_launchpad_it_uses_the_embedded_one_and_says_so(
    tmp_path: Path, log: Path
) -> None:
    add_to_embedded(tmp_path, tasks.fan(log, width=2, seconds=0.0))
    ended = portfire(tmp_path, "run", "--threads", "2", HOME=str(tmp_path))
    assert ended.code == 0, ended.errors
    assert "4 COMPLETED" in ended.output
    assert "embedded" in ended.output + ended.errors
    assert sorted(tasks.ended(log)) == ["join", "middle 0", "middle 1", "root"]
    again = portfire(tmp_path, "run", HOME=str(tmp_path))
    assert "nothing to run" in again.output


def test_of_two_at_once_on_the_embedded_launchpad_one_is_refused(tmp_path: Path, log: Path) -> None:
    add_to_embedded(tmp_path, tasks.fan(log, width=6, seconds=0.3))
    both = [start(tmp_path, "run", "--threads", "1") for _ in range(2)]
    ended = [finish(process) for process in both]
    assert sorted(each.code for each in ended) == [0, 2], [each.errors for each in ended]
    refused = next(each for each in ended if each.code == 2)
    assert "another run is using the embedded LaunchPad" in refused.errors
    assert all("Traceback" not in each.errors for each in ended)
    assert sorted(tasks.ended(log)) == sorted(["root", "join", *(f"middle {n}" for n in range(6))])
    assert "nothing to run" in portfire(tmp_path, "run").output


def _children(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return Path(os.fspath(tmp_path / "log"))
