"""The embedded LaunchPad's file: whole after a kill, and used by one run at a time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fireworks import Workflow

from tests.commands.embedded import FILE, add_to_embedded, embedded_states
from tests.commands.programs import finish, portfire, start
from tests.faults import tasks
from tests.waiting import wait_until


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def test_a_killed_run_loses_no_more_than_its_last_seconds(tmp_path: Path, log: Path) -> None:
    gate = tmp_path / "gate"
    quick = [tasks.firework(log, f"quick {number}") for number in range(3)]
    slow = tasks.firework(log, "slow", gate=gate)
    add_to_embedded(tmp_path, Workflow([*quick, slow], name="four"))
    process = start(tmp_path, "run", "--threads", "2")
    wait_until(
        lambda: sorted(embedded_states(tmp_path).values()).count("COMPLETED") == 3,
        timeout=30,
        what="the quick ones in the file",
    )
    process.kill()
    process.communicate()
    gate.touch()
    ended = portfire(tmp_path, "run", "--threads", "2")
    assert ended.code == 0, ended.errors
    assert set(embedded_states(tmp_path).values()) == {"COMPLETED"}
    assert sorted(tasks.ended(log)) == ["quick 0", "quick 1", "quick 2", "slow"]


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / FILE).parent.mkdir()
    (tmp_path / FILE).write_text('{"fireworks": {')
    ended = portfire(tmp_path, "run")
    assert ended.code == 2
    assert "launchpad.json cannot be read" in ended.errors
    assert "move it away" in ended.errors
    assert "Traceback" not in ended.errors


def test_the_environment_names_the_embedded_file_for_one_run_at_a_time(
    tmp_path: Path, log: Path
) -> None:
    add_to_embedded(tmp_path, tasks.fan(log, width=4, seconds=0.3))
    named = {"MONGOMOCK_SERVERSTORE_FILE": str(tmp_path / FILE)}
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    both = [start(place, "run", "--threads", "1", **named) for place in (tmp_path, elsewhere)]
    ended = [finish(process) for process in both]
    assert sorted(each.code for each in ended) == [0, 2], [each.errors for each in ended]
    assert len(tasks.ended(log)) == 6


def test_a_named_launchpad_and_the_embedded_one_exclude_each_other(tmp_path: Path) -> None:
    (tmp_path / "lp.yaml").write_text("host: localhost")
    named = {"MONGOMOCK_SERVERSTORE_FILE": str(tmp_path / FILE)}
    for command in ("run", "dispatcher"):
        ended = portfire(tmp_path, command, "-l", "lp.yaml", **named)
        assert ended.code == 2
        assert "unset MONGOMOCK_SERVERSTORE_FILE" in ended.error_line
    assert not (tmp_path / FILE).exists()


def test_a_fireworks_configuration_that_is_not_yaml_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "FW_config.yaml").write_text("[")
    ended = portfire(tmp_path, "run")
    assert ended.code == 2
    assert "FW_config.yaml" in ended.error_line


def test_the_file_is_json_that_lpad_reads(tmp_path: Path, log: Path) -> None:
    add_to_embedded(tmp_path, tasks.fan(log, width=1, seconds=0.0))
    assert portfire(tmp_path, "run").code == 0
    content = json.loads((tmp_path / FILE).read_text())
    assert "fireworks" in content["fireworks"]
    assert embedded_states(tmp_path) == dict.fromkeys(["root", "middle 0", "join"], "COMPLETED")
