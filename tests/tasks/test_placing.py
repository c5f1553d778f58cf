"""What a program printed, put where the job's outputs are."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from executor.files.placing import place_file


@pytest.fixture
def printed(tmp_path: Path) -> Path:
    path = tmp_path / "ours/stdout"
    path.parent.mkdir()
    path.write_text("printed\n")
    return path


def place(printed: Path, target: Path) -> None:
    place_file(printed, target, within=printed.parent)


def test_it_is_not_copied(printed: Path, tmp_path: Path) -> None:
    target = tmp_path / "outputs/deep/file"
    place(printed, target)
    assert target.read_text() == "printed\n"
    assert target.samefile(printed)
    assert [path.name for path in target.parent.iterdir()] == ["file"]


def test_two_outputs_are_independent(printed: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    place(printed, first)
    place(printed, second)
    with first.open("a") as file:
        file.write("more")
    assert second.read_text() == "printed\n"


def test_a_file_that_is_there_is_replaced_not_written_to(printed: Path, tmp_path: Path) -> None:
    target, other = tmp_path / "file", tmp_path / "other"
    other.write_text("before")
    target.symlink_to(other)
    place(printed, target)
    assert not target.is_symlink()
    assert target.read_text() == "printed\n"
    assert other.read_text() == "before"


def test_where_there_are_no_links_it_is_copied(
    printed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", refuse)
    target = tmp_path / "file"
    place(printed, target)
    assert target.read_text() == "printed\n"
    assert not target.samefile(printed)
