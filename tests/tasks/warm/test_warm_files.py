"""Lending files to a kept container and taking them back, without a container."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from pathlib import Path

import pytest

from executor.warm.files import WarmFiles

_SOMEBODY = 4711


def test_what_is_lent_comes_back_with_what_came_up(tmp_path: Path) -> None:
    job, files = tmp_path / "job", WarmFiles(tmp_path / "kept/files")
    (job / "tree").mkdir(parents=True)
    (job / "a").write_text("1")
    files.lend(job)
    assert list(job.iterdir()) == []
    (files.directory / "tree/b").write_text("2")
    assert files.give_back(job)
    assert sorted(path.name for path in job.rglob("*")) == ["a", "b", "tree"]
    assert list(files.directory.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_directories_that_belong_to_another_come_back_all_together(tmp_path: Path) -> None:
    for directory in (tmp_path, *tmp_path.parents):
        if directory.stat().st_uid == 0 and directory.is_relative_to(tempfile.gettempdir()):
            directory.chmod(directory.stat().st_mode | 0o011)
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, _SOMEBODY, _SOMEBODY)
    process = multiprocessing.get_context("fork").Process(target=_as_somebody, args=(home,))
    process.start()
    process.join(20.0)
    assert process.exitcode == 0


def _as_somebody(home: Path) -> None:
    job = home / "job"
    os.seteuid(_SOMEBODY)
    files = WarmFiles(home / "kept")
    job.mkdir()
    (files.directory / "own").touch()
    os.seteuid(0)
    (files.directory / "foreign").mkdir()
    os.seteuid(_SOMEBODY)
    assert files.give_back(job) is False
    assert sorted(path.name for path in job.iterdir()) == ["foreign", "own"]
    assert not files.directory.exists()
