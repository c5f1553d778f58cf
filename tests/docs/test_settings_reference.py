"""The settings reference and the example settings file say what the code says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from executor.settings import ExecutorSettings
from messaging.settings import load, read_yaml

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "settings.yml"


def test_the_settings_reference_is_up_to_date() -> None:
    checked = subprocess.run(
        [sys.executable, ROOT / "tools" / "settings_reference.py", "--check"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert checked.returncode == 0, checked.stderr


def test_the_example_settings_file_loads() -> None:
    settings = load(ExecutorSettings, file=EXAMPLE, environ={})
    assert settings.threads == 2


@pytest.mark.parametrize("field", ExecutorSettings.model_fields)
def test_the_example_settings_file_explains_every_setting(field: str) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    lines = text.splitlines()
    places = [i for i, line in enumerate(lines) if re.match(rf"#?{field}:", line)]
    assert len(places) == 1
    assert lines[places[0] - 1].startswith("# ")


def test_the_commented_settings_of_the_example_are_right(tmp_path: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    file = tmp_path / "settings.yml"
    file.write_text(re.sub(r"^#(?=[a-z_]+:|  [a-z])", "", text, flags=re.MULTILINE))
    assert set(read_yaml(file)) == set(ExecutorSettings.model_fields)
    load(ExecutorSettings, file=file, environ={})


#: Settings for which the example shows something else than the default.
_OTHER = {"project", "emulator_host", "executor_id", "storage_options"}
_OTHER |= {"allowed_images", "allowed_mounts", "allowed_firetasks", "allowed_capabilities"}
_OTHER |= {"max_memory", "container_network"}


def test_the_example_shows_defaults_where_it_says_so() -> None:
    shown = re.findall(r"^#([a-z_]+): (.+)$", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE)
    defaults = load(ExecutorSettings, environ={})
    assert shown
    for name, value in shown:
        if name not in _OTHER:
            loaded = load(ExecutorSettings, flags={name: value}, environ={})
            assert getattr(loaded, name) == getattr(defaults, name), name
