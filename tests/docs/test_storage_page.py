"""The page on storage: its commands run, its settings and tasks mean a place."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from fireworks import Workflow

from executor.settings import ExecutorSettings
from storage_backends.places.choice import Defaults, default_place, place
from storage_backends.registry import storage_names

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "storage.md").read_text(encoding="utf-8")
YAML = [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)]
SCRIPTS = [
    block for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.M | re.S) if "mkdir" in block
]


def test_the_commands_that_need_no_cloud_run(tmp_path: Path) -> None:
    [script] = SCRIPTS
    bin_directory = tmp_path / "bin"
    bin_directory.mkdir()
    portfire = bin_directory / "portfire"
    portfire.write_text(f'#!/bin/sh\nexec {sys.executable} -m portfire "$@"\n')
    portfire.chmod(0o755)
    ran = subprocess.run(
        ["sh", "-e", "-c", script],
        cwd=tmp_path,
        env={
            **os.environ,
            "PATH": f"{bin_directory}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "again.txt").read_text() == "some words\n"
    assert ran.stdout.count(" ok ") == 4


SETTINGS = [block for block in YAML if "_fw_name" not in block and "fws" not in block]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: settings["storage"])
def test_the_settings_of_the_page_are_a_place_of_their_own(settings: dict[str, Any]) -> None:
    loaded = ExecutorSettings(**settings)
    assert default_place(Defaults(loaded.storage, loaded.storage_options), {}) is not None


def test_the_task_of_the_page_has_a_place() -> None:
    [task] = [block for block in YAML if "_fw_name" in block]
    found = place(None, {}, task["storage_prefix"], defaults=Defaults(), environ={})
    assert found.root_url == "gs://my-bucket"


def test_the_workflow_of_the_page_is_one() -> None:
    [workflow] = [block for block in YAML if "fws" in block]
    assert len(Workflow.from_dict(workflow).fws) == 2


@pytest.mark.parametrize("name", storage_names())
def test_every_storage_has_a_heading_and_a_choice(name: str) -> None:
    assert re.search(rf"^### .*\b{name}\b", PAGE, re.MULTILINE)
    assert f"`{name}`" in PAGE.partition("## The executor's storage")[0]
