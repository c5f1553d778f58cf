"""The word count example gives the right answer, in containers and without."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from fireworks import FWorker, LaunchPad
from fireworks.core.rocket_launcher import rapidfire

from examples.wordcount import image, workflow
from messaging.wire import RawJob, decode_job


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "wordcount"
    folder.mkdir()
    workflow.prepare(folder)
    return folder


@pytest.mark.parametrize("parts", [1, 4])
def test_the_programs_count_every_word_on_this_machine(
    folder: Path, launchpad: LaunchPad, monkeypatch: pytest.MonkeyPatch, parts: int
) -> None:
    launchpad.add_wf(workflow.build(folder, parts, docker_image=None))
    _run(launchpad, folder, monkeypatch)
    _assert_right(folder)


def test_the_programs_count_every_word_in_containers(
    folder: Path, launchpad: LaunchPad, monkeypatch: pytest.MonkeyPatch, docker_engine: str
) -> None:
    launchpad.add_wf(workflow.build(folder, 3, docker_image=docker_engine))
    _run(launchpad, folder, monkeypatch)
    _assert_right(folder)


def test_more_parts_than_lines_are_no_problem(
    folder: Path, launchpad: LaunchPad, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in (folder / "texts").iterdir():
        text.unlink()
    (folder / "texts" / "short.txt").write_text("To be,\nor not to be:\n")
    launchpad.add_wf(workflow.build(folder, 5, docker_image=None))
    _run(launchpad, folder, monkeypatch)
    assert workflow.answer(folder) == [("be", 2), ("to", 2), ("not", 1), ("or", 1)]


def test_preparing_again_removes_the_outputs_of_an_earlier_run(folder: Path) -> None:
    (folder / "counts").mkdir()
    (folder / workflow.RESULT).write_text("1\told\n")
    workflow.prepare(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["programs", "texts"]


def test_without_an_engine_the_choice_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    chosen, why = workflow.choose_image()
    assert chosen is None
    assert "no Docker engine answers" in why
    assert "\n" not in why


def test_without_busybox_the_choice_says_why(
    docker_engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert docker_engine
    monkeypatch.setattr("shutil.which", _nothing)
    with pytest.raises(image.NoImageError, match="busybox-static"):
        image.make_image("portfire-test-never-made:1")


def test_the_raw_job_of_the_examples_is_one() -> None:
    job = Path(image.__file__).parents[1] / "job.json"
    assert isinstance(decode_job(job.read_bytes()), RawJob)


def _nothing(_: str) -> None:
    return None


def _run(launchpad: LaunchPad, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launches = folder.with_name("launches")
    launches.mkdir()
    monkeypatch.chdir(launches)  # rapidfire changes the directory; this puts it back
    rapidfire(launchpad, FWorker(), m_dir=str(launches), strm_lvl="CRITICAL", sleep_time=1)
    assert launchpad.get_fw_ids({"state": {"$ne": "COMPLETED"}}) == []


def _assert_right(folder: Path) -> None:
    words: Counter[str] = Counter()
    for text in (folder / "texts").iterdir():
        found: Callable[[str], list[str]] = re.compile(r"[a-z']+").findall
        words.update(word.strip("'") for word in found(text.read_text().lower()))
    del words[""]
    expected = sorted(words.items(), key=lambda item: (-item[1], item[0]))
    assert workflow.answer(folder) == expected
    assert len(expected) > 500
