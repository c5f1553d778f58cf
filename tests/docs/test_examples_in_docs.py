"""What the README and the docs tell people to type exists, and their links lead somewhere."""

from __future__ import annotations

import functools
import importlib
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from executor.command_task import CommandTask
from executor.docker_task import DockerTask
from messaging import topology
from messaging.names import Names, pool_filter
from messaging.pubsub import PubSub
from messaging.wire import RawJob, decode_job

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_TASK = re.compile(r"\{\{([\w.]+)\.(\w+)\}\}")


def _text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def _blocks(page: Path, *languages: str) -> list[str]:
    """The fenced blocks of a page in these languages."""
    return [body for language, body in _FENCE.findall(_text(page)) if language in languages]


def _commands() -> Iterator[Any]:
    """Every `portfire ...` line of a shell block, and every inline one."""
    for page in PAGES:
        lines = [
            line.strip()
            for block in _blocks(page, "sh", "bash", "console")
            for line in block.replace("\\\n", " ").splitlines()
        ]
        prose = _FENCE.sub("", _text(page))
        lines += [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose)]
        for line in dict.fromkeys(lines):
            if match := re.search(r"(?:^|[\s;|])(portfire (?:-v+ )?[a-z].*)$", line):
                yield pytest.param(match[1], id=f"{page.name}: {match[1][:60]}")


@functools.cache
def _help(*command: str) -> str:
    shown = subprocess.run(
        [sys.executable, "-m", "portfire", *command, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert shown.returncode == 0, shown.stderr
    return shown.stdout


def _words(line: str) -> list[str]:
    """The words of a command line up to its pipe, redirection or comment."""
    words = []
    for word in shlex.split(line, comments=True):
        if word in ("|", ">", ">>", "&", "&&", "<", "2>"):
            break
        words.append(word)
    return words


def test_the_pages_have_commands_to_check() -> None:
    assert len(list(_commands())) > 10


@pytest.mark.parametrize("line", list(_commands()))
def test_a_command_of_the_docs_has_only_flags_that_exist(line: str) -> None:
    words = [word for word in _words(line)[1:] if word not in ("-v", "-vv")]
    below = words[0] in ("storage", "gce") or words[1:2] in (
        ["record"],
        ["replay"],
        ["delete-recording"],
    )
    known = _help(*words[: 2 if below else 1])
    flags = [re.match(r"--?[\w-]+", word) for word in words[1:] if re.match(r"--?[a-z]", word)]
    for flag in flags:
        assert flag is not None
        assert re.search(rf"(?<![\w-]){re.escape(flag[0])}(?![\w-])", known), flag[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_to_files(page: Path) -> None:
    text = _FENCE.sub("", _text(page))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        if anchor:
            assert anchor in _anchors(target), link


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", _text(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_has_less_than_120_lines() -> None:
    assert len(_text(ROOT / "README.md").splitlines()) < 120


def _yaml_blocks() -> Iterator[Any]:
    for page in PAGES:
        for number, block in enumerate(_blocks(page, "yaml"), 1):
            yield pytest.param(block, id=f"{page.name}: {number}")


def _tasks(value: Any) -> Iterator[dict[str, Any]]:
    """Everything in a document that names a task."""
    children = value.values() if isinstance(value, dict) else value
    if isinstance(value, dict) and "_fw_name" in value:
        yield value
    elif isinstance(children, (list, type({}.values()))):
        for child in children:
            yield from _tasks(child)


@pytest.mark.parametrize("block", list(_yaml_blocks()))
def test_tasks_in_yaml_exist_and_have_the_parameters_named(block: str) -> None:
    content = yaml.safe_load(block)
    assert content
    for task in _tasks(content):
        match = _TASK.fullmatch(task["_fw_name"])
        # FireWorks finds its own by their short names.
        module, name = (match[1], match[2]) if match else ("fireworks", task["_fw_name"])
        found = getattr(importlib.import_module(module), name)
        parameters = set(task) - {"_fw_name"}
        assert set(found.required_params) <= parameters
        assert parameters <= {*found.required_params, *(found.optional_params or ())}


@pytest.mark.parametrize(
    ("page", "task"), [("tasks.md", CommandTask), ("docker-task.md", DockerTask)]
)
def test_the_page_on_a_task_names_every_parameter(page: str, task: Any) -> None:
    named = set(re.findall(r"`(\w+)`", _text(ROOT / "docs" / page)))
    assert {*task.required_params, *task.optional_params} <= named


def _json_blocks() -> Iterator[Any]:
    for page in PAGES:
        for number, block in enumerate(_blocks(page, "json"), 1):
            if '"executable"' in block:
                yield pytest.param(block, id=f"{page.name}: {number}")


@pytest.mark.parametrize("block", list(_json_blocks()))
def test_raw_jobs_of_the_docs_are_raw_jobs(block: str) -> None:
    assert isinstance(decode_job(block.encode()), RawJob)


def test_raw_job_of_the_examples_is_a_raw_job() -> None:
    assert isinstance(decode_job((ROOT / "examples" / "job.json").read_bytes()), RawJob)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_of_the_docs_compiles(page: Path) -> None:
    for block in _blocks(page, "python"):
        compile(block, page.name, "exec")


class _Recorder:
    """Takes down what is created; in place of a PubSub."""

    def __init__(self) -> None:
        self.topics: set[str] = set()
        self.subscriptions: dict[str, str] = {}

    def create_topic(self, topic: str) -> bool:
        self.topics.add(topic)
        return True

    def create_subscription(self, subscription: str, topic: str, **options: Any) -> bool:
        self.subscriptions[subscription] = topic
        assert options["filter"] == pool_filter("default")
        return True


def test_the_gcloud_commands_create_all_that_a_dispatcher_needs() -> None:
    needed = _Recorder()
    for ensure in (topology.ensure_dispatcher, topology.ensure_pool):
        ensure(cast(PubSub, needed), Names(), "default", 60.0)
    page = ROOT / "docs" / "google-cloud.md"
    script = next(block for block in _blocks(page, "sh") if "topics create" in block)
    assert f"filter='{pool_filter('default')}'" in script
    made = re.search(r"topics create ((?:[\w-]|\\\n|\s)+?)\n\n", script)
    assert made is not None
    assert set(made[1].replace("\\", " ").split()) == needed.topics
    looped = re.search(r"for topic in (.+)\n", script)
    assert looped is not None
    subscriptions = {f"{topic}-default": topic for topic in looped[1].split()}
    assert {**subscriptions, "portfire-jobs-default": "portfire-jobs"} == needed.subscriptions
