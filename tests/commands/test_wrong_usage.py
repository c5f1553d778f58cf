"""Wrong settings, files and services: one line that names thing and remedy, no traceback."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.commands.programs import portfire
from tests.services.mongodb import free_port

SETTINGS = {
    "not YAML": ("threads: [1\n", "is not YAML"),
    "no mapping": ("- 1\n", "`name: value`"),
    "unknown field": ("thread: 2\n", "thread is no setting"),
    "wrong type": ("threads: many\n", "threads is 'many'"),
    "out of range": ("threads: 0\n", "threads is 0"),
    "lease too short": ("lease_seconds: 1\n", "lease_seconds is 1"),
}


@pytest.mark.parametrize("case", SETTINGS)
@pytest.mark.parametrize("command", ["executor", "run"])
def test_a_wrong_settings_file_is_one_line_and_exit_code_2(
    tmp_path: Path, command: str, case: str
) -> None:
    content, expected = SETTINGS[case]
    (tmp_path / "settings.yml").write_text(content)
    ended = portfire(tmp_path, command, "settings.yml", PUBSUB_EMULATOR_HOST="127.0.0.1:1")
    assert ended.code == 2
    assert expected in ended.error_line
    assert "settings.yml" in ended.error_line


def test_a_settings_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    ended = portfire(tmp_path, "executor", "nowhere.yml")
    assert ended.code == 2
    assert "nowhere.yml" in ended.error_line


def test_a_wrong_environment_variable_is_named(tmp_path: Path) -> None:
    ended = portfire(tmp_path, "executor", THREADS="many", PUBSUB_EMULATOR_HOST="127.0.0.1:1")
    assert ended.code == 2
    assert "environment THREADS is 'many'" in ended.error_line


@pytest.mark.parametrize("command", [["executor"], ["events"], ["metrics"]])
def test_without_pubsub_a_command_says_how_to_get_one(tmp_path: Path, command: list[str]) -> None:
    ended = portfire(tmp_path, *command)
    assert ended.code == 2
    assert "portfire broker" in ended.error_line


@pytest.mark.parametrize("command", ["run", "dispatcher"])
def test_a_launchpad_that_cannot_be_reached_is_told_within_seconds(
    tmp_path: Path, command: str
) -> None:
    port = free_port()
    (tmp_path / "my_launchpad.yaml").write_text(f"host: 127.0.0.1\nport: {port}\nname: nobody\n")
    began = time.monotonic()
    ended = portfire(
        tmp_path, command, "-l", "my_launchpad.yaml", PUBSUB_EMULATOR_HOST="127.0.0.1:1"
    )
    assert ended.code == 1
    assert f"127.0.0.1:{port}" in ended.error_line
    # Five seconds of waiting, and the start of Python.
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("content", "expected"),
    [("host: [\n", "cannot be used"), ("{}: {}\n", "cannot be used"), (None, "no file")],
)
def test_a_wrong_launchpad_file_is_one_line_and_exit_code_2(
    tmp_path: Path, content: str | None, expected: str
) -> None:
    if content is not None:
        (tmp_path / "lp.yaml").write_text(content)
    ended = portfire(tmp_path, "run", "-l", "lp.yaml")
    assert ended.code == 2
    assert "lp.yaml" in ended.error_line
    assert expected in ended.error_line


def test_a_dispatcher_without_a_launchpad_says_so(tmp_path: Path) -> None:
    port = free_port()
    ended = portfire(tmp_path, "dispatcher", PUBSUB_EMULATOR_HOST=f"127.0.0.1:{port}")
    assert ended.code in (1, 2)
    assert "LaunchPad" in ended.error_line


def test_an_empty_database_is_not_reset_behind_its_owners_back(
    tmp_path: Path, mongodb: object
) -> None:
    uri = mongodb.uri  # type: ignore[attr-defined]
    host, port = uri.removeprefix("mongodb://").split(":")
    (tmp_path / "lp.yaml").write_text(f"host: {host}\nport: {port}\nname: portfire_empty\n")
    ended = portfire(tmp_path, "run", "-l", "lp.yaml")
    assert ended.code == 2
    assert "lpad reset" in ended.error_line


def test_a_workdir_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = portfire(
        tmp_path,
        "executor",
        "--workdir",
        str(tmp_path / "file" / "work"),
        PUBSUB_EMULATOR_HOST="127.0.0.1:1",
    )
    assert ended.code == 2
    assert "PORTFIRE_WORKDIR" in ended.error_line


def test_secrets_are_not_printed_with_the_settings(tmp_path: Path) -> None:
    (tmp_path / "settings.yml").write_text("threads: 3\nstorage_options: {password: hunter2}\n")
    ended = portfire(tmp_path, "-v", "executor", "settings.yml", PUBSUB_EMULATOR_HOST="")
    assert ended.code == 2
    assert "'threads': 3" in ended.errors
    assert "hunter2" not in ended.errors
