"""Clearing up after dead executors, and after nobody else."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from executor.containers.residents import Residence, reap
from messaging.errors import ServiceError, UsageError

#: An executor that has a launch and a raw job when it is killed.
_DIES = """
import os, signal, sys
from pathlib import Path
from executor.containers.residents import Residence
workdir = Path(sys.argv[1])
residence = Residence(workdir, "dead")
residence.enter(lambda executor: 0)
residence.began(workdir / "launch-1", raw=False)
residence.began(workdir / "raw-1", raw=True)
residence.began(workdir / "done-1", raw=True)
residence.ended(workdir / "done-1")
os.kill(os.getpid(), signal.SIGKILL)
"""


def _note(asked: list[str], executor: str) -> int:
    asked.append(executor)
    return 1


def _no_containers(_executor: str) -> int:
    return 0


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    for name in ("launch-1", "raw-1", "done-1", "others-1"):
        (tmp_path / name / ".portfire-private").mkdir(parents=True)
        (tmp_path / name / "FW.json").write_text("{}")
    return tmp_path


def test_what_a_killed_executor_left_is_removed(workdir: Path) -> None:
    subprocess.run([sys.executable, "-c", _DIES, str(workdir)], check=False)
    asked: list[str] = []

    def remove_containers(executor: str) -> int:
        asked.append(executor)
        return 0

    assert reap(workdir, remove_containers) == 1
    assert asked == ["dead"]
    assert (workdir / "launch-1/FW.json").exists()
    assert not (workdir / "launch-1/.portfire-private").exists()
    assert not (workdir / "raw-1").exists()
    assert (workdir / "done-1/.portfire-private").exists()
    assert (workdir / "others-1/.portfire-private").exists()
    assert reap(workdir, remove_containers) == 0


def test_a_living_executor_is_spared(workdir: Path) -> None:
    residence = Residence(workdir, "alive")
    residence.enter(_no_containers)
    residence.began(workdir / "raw-1", raw=True)
    assert reap(workdir, lambda executor: pytest.fail(executor)) == 0
    assert (workdir / "raw-1").exists()
    residence.leave()
    assert reap(workdir, lambda executor: pytest.fail(executor)) == 0


def test_an_id_is_taken_once(workdir: Path) -> None:
    first = Residence(workdir, "same")
    first.enter(_no_containers)
    with pytest.raises(UsageError, match="taken by an executor that runs"):
        Residence(workdir, "same").enter(_no_containers)
    first.leave()
    second = Residence(workdir, "same")
    second.enter(_no_containers)
    second.leave()


def test_another_machines_executor_is_not_ours_to_judge(workdir: Path) -> None:
    subprocess.run([sys.executable, "-c", _DIES, str(workdir)], check=False)
    (workdir / ".portfire/executors/dead/host").write_text("elsewhere")
    assert reap(workdir, lambda executor: pytest.fail(executor)) == 0
    assert (workdir / "raw-1").exists()


def test_a_job_cannot_be_named_to_reach_elsewhere(workdir: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", _DIES, str(workdir)], check=False)
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (workdir / "raw-1/link").symlink_to(outside)
    (outside / "keep").touch()
    reap(workdir, lambda _executor: 0)
    assert (outside / "keep").exists()


def test_an_executor_clears_up_after_a_dead_one_of_its_own_id(workdir: Path) -> None:
    subprocess.run([sys.executable, "-c", _DIES, str(workdir)], check=False)
    asked: list[str] = []
    residence = Residence(workdir, "dead")
    residence.enter(partial(_note, asked))
    assert asked == ["dead"]
    assert not (workdir / "raw-1").exists()
    assert reap(workdir, lambda executor: pytest.fail(executor)) == 0
    with pytest.raises(UsageError, match="taken by"):
        Residence(workdir, "dead").enter(_no_containers)
    residence.leave()
    assert not residence.directory.exists()


def test_what_an_absent_engine_still_has_is_removed_another_time(workdir: Path) -> None:
    subprocess.run([sys.executable, "-c", _DIES, str(workdir)], check=False)

    def away(_executor: str) -> int:
        raise ServiceError("no Docker Engine answers")

    assert reap(workdir, away) == 0
    assert (workdir / "raw-1").exists()
    assert reap(workdir, _no_containers) == 1
    assert not (workdir / "raw-1").exists()


def test_an_entry_that_is_not_clean_is_left_to_others(workdir: Path) -> None:
    residence = Residence(workdir, "hasty")
    residence.enter(_no_containers)
    residence.leave(clean=False)
    asked: list[str] = []
    assert reap(workdir, partial(_note, asked)) == 1
    assert asked == ["hasty"]
