"""`portfire demo`, as somebody who has just installed Portfire runs it."""

from __future__ import annotations

import re
import signal
from collections import Counter
from pathlib import Path

import pytest

from examples import wordcount
from tests.commands.programs import Ended, finish, portfire, start
from tests.waiting import wait_until

NO_ENGINE = "unix:///nonexistent/docker.sock"
TEXTS = Path(wordcount.__file__).parent / "texts"


def test_without_docker_it_counts_the_words_right(tmp_path: Path) -> None:
    ended = portfire(tmp_path, "demo", DOCKER_HOST=NO_ENGINE)
    _check_right(ended, tmp_path)
    assert "tasks are CommandTasks on this machine: no Docker engine answers" in ended.output


def test_with_docker_it_counts_the_words_right(docker_engine: str, tmp_path: Path) -> None:
    assert docker_engine
    ended = portfire(tmp_path, "demo", "--parts", "2")
    _check_right(ended, tmp_path, parts=2)
    assert "tasks are DockerTasks in containers of " in ended.output


def test_it_may_be_run_again(tmp_path: Path) -> None:
    for parts in (3, 2):
        ended = portfire(tmp_path, "demo", "--parts", str(parts), DOCKER_HOST=NO_ENGINE)
        _check_right(ended, tmp_path, parts)


def test_a_failed_job_gives_exit_code_1_and_its_reason(tmp_path: Path) -> None:
    _demo(tmp_path).mkdir(parents=True)
    (_demo(tmp_path) / "counts").write_text("in the way of the directory of this name")
    ended = portfire(tmp_path, "demo", DOCKER_HOST=NO_ENGINE)
    assert ended.code == 1
    assert "1 COMPLETED, 4 FIZZLED" in ended.output
    assert "failed in stage-out: storing file 'counts/part-1.tsv'" in ended.output
    assert "answer: " not in ended.output
    assert ended.errors == ""


def test_something_in_the_way_of_the_result_is_named_on_one_line(tmp_path: Path) -> None:
    (_demo(tmp_path) / "words.tsv").mkdir(parents=True)
    ended = portfire(tmp_path, "demo", DOCKER_HOST=NO_ENGINE)
    assert ended.code != 0
    assert "words.tsv" in ended.error_line


@pytest.mark.alone
def test_after_ctrl_c_it_says_what_was_done_and_the_next_run_is_right(tmp_path: Path) -> None:
    process = start(tmp_path, "demo", "--parts", "40", DOCKER_HOST=NO_ENGINE)
    wait_until((_demo(tmp_path) / "parts").exists, what="the first job")
    process.send_signal(signal.SIGINT)
    ended = finish(process)
    assert "Traceback" not in ended.errors, ended.errors
    assert " COMPLETED, 0 FIZZLED" in ended.output
    assert "answer: " not in ended.output
    again = portfire(tmp_path, "demo", DOCKER_HOST=NO_ENGINE)
    assert again.code == 0, again.output
    assert "0 FIZZLED" in again.output
    _check_result(tmp_path)


@pytest.mark.parametrize("parts", ["0", "-1", "many"])
def test_a_number_of_parts_that_is_none_is_refused(tmp_path: Path, parts: str) -> None:
    ended = portfire(tmp_path, "demo", "--parts", parts, DOCKER_HOST=NO_ENGINE)
    assert ended.code == 2
    assert "--parts" in ended.errors
    assert "Traceback" not in ended.errors


def _demo(directory: Path) -> Path:
    return directory / ".portfire" / "demo"


def _check_right(ended: Ended, directory: Path, parts: int = 4) -> None:
    assert ended.code == 0, ended.errors
    # Neither warnings nor a progress display: nobody looks at a pipe.
    assert ended.errors == ""
    assert "\x1b" not in ended.output
    assert "\r" not in ended.output
    assert re.search(
        r"^job +state +stage-in s +bytes +execution s +stage-out s", ended.output, re.M
    )
    assert f"{parts + 2} COMPLETED, 0 FIZZLED" in ended.output
    words = _words()
    [(first, count)] = words.most_common(1)
    answer = f"answer: {words.total():,} words, {len(words):,} different; most frequent: "
    assert f"{answer}{first} {count}, " in ended.output
    _check_result(directory)
    made = {f"part-{part}.tsv" for part in range(1, parts + 1)}
    assert {file.name for file in (_demo(directory) / "counts").iterdir()} == made
    report = _demo(directory).resolve() / "report.html"
    assert f"report: open {report} in a browser" in ended.output
    page = report.read_text(encoding="utf-8")
    assert f"{parts + 2} COMPLETED" in page
    assert "Critical path of wordcount" in page
    assert page.count("<td>merge</td>") == 1


def _check_result(directory: Path) -> None:
    result = (_demo(directory) / "words.tsv").read_text().splitlines()
    counted = {word: int(count) for count, word in (line.split("\t") for line in result)}
    assert counted == dict(_words())


def _words() -> Counter[str]:
    """The words of the example's texts, counted here."""
    words: Counter[str] = Counter()
    for text in TEXTS.iterdir():
        runs = re.findall(r"[a-z']+", text.read_text(encoding="utf-8").lower())
        words.update(word for word in (run.strip("'") for run in runs) if word)
    return words
