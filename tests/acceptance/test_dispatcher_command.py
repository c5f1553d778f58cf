"""`portfire dispatcher` as a user runs it: its flags, its files, its exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from fireworks import Firework, FWorker, LaunchPad, PyTask

from messaging.pubsub import PubSub
from messaging.topology import ensure_dispatcher, ensure_pool
from tests.acceptance import tasks
from tests.acceptance.daemons import Daemons
from tests.commands.programs import Ended, portfire
from tests.faults.ledger import check_completed_once, check_consistent, states


@pytest.fixture
def launchpad_file(launchpad: LaunchPad, tmp_path: Path) -> str:
    launchpad.to_file(str(tmp_path / "lp.yaml"))
    return str(tmp_path / "lp.yaml")


def test_a_drained_dispatcher_ends_with_0_when_all_is_done(
    daemons: Daemons, launchpad: LaunchPad, launchpad_file: str, storage: Path
) -> None:
    daemons.start_executor()
    launchpad.add_wf(tasks.letters(storage, ["a"]))
    ended = daemons.portfire("dispatcher", "--drain", "-l", launchpad_file)
    assert ended.code == 0, ended.errors
    assert ended.output == ""
    assert "Traceback" not in ended.errors
    check_completed_once(launchpad)
    again = daemons.portfire("dispatcher", "--drain", "-l", launchpad_file)
    assert again.code == 0, again.errors


def test_a_drained_dispatcher_ends_with_1_when_a_job_failed(
    daemons: Daemons, launchpad: LaunchPad, launchpad_file: str
) -> None:
    daemons.start_executor()
    launchpad.add_wf(tasks.with_child(PyTask(func="math.sqrt", args=[-1]), "wrong", {}))
    launchpad.add_wf(tasks.script("right"))
    ended = daemons.portfire("dispatcher", "--drain", "-l", launchpad_file)
    assert ended.code == 1
    assert "Traceback" not in ended.errors
    expected = {"wrong": "FIZZLED", "child of wrong": "WAITING", "right": "COMPLETED"}
    assert states(launchpad) == expected
    check_consistent(launchpad)


def test_without_the_right_to_create_missing_topics_are_named(
    daemons: Daemons, launchpad: LaunchPad, launchpad_file: str
) -> None:
    launchpad.add_wf(tasks.script("job"))
    flags = ("dispatcher", "--no-create", "--drain", "-l", launchpad_file)
    ended = daemons.portfire(*flags)
    assert ended.code == 2
    line = _error(ended)
    for topic in ("portfire-jobs", "portfire-updates", "portfire-control", "portfire-events"):
        assert f"topic {topic}" in line
    assert "run `portfire dispatcher` once without --no-create" in line
    assert states(launchpad) == {"job": "READY"}
    with PubSub("portfire-local", daemons.address) as pubsub:
        assert not pubsub.topic_exists(daemons.names.jobs)
        ensure_dispatcher(pubsub, daemons.names, "default", 60.0)
        assert "subscription portfire-jobs-default" in _error(daemons.portfire(*flags))
        ensure_pool(pubsub, daemons.names, "default", 60.0)
    daemons.start_executor()
    ended = daemons.portfire(*flags)
    assert ended.code == 0, ended.errors
    check_completed_once(launchpad)


def test_the_files_of_a_config_directory_are_found_by_name(
    daemons: Daemons, launchpad: LaunchPad, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.mkdir()
    launchpad.to_file(str(config / "my_launchpad.yaml"))
    FWorker("theirs", category="gpu").to_file(str(config / "my_fworker.yaml"))
    _add_of_categories(launchpad)
    daemons.start_executor()
    ended = daemons.portfire("dispatcher", "--drain", "-c", str(config))
    assert ended.code == 0, ended.errors
    _check_gpu_only(launchpad, "theirs")


def test_an_fworker_restricts_what_runs_and_goes_over_the_config_directory(
    daemons: Daemons, launchpad: LaunchPad, launchpad_file: str, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.mkdir()
    FWorker("not this one", category="cpu").to_file(str(config / "my_fworker.yaml"))
    file = tmp_path / "gpu.yaml"
    FWorker("mine", category="gpu").to_file(str(file))
    _add_of_categories(launchpad)
    daemons.start_executor()
    flags = ("-l", launchpad_file, "-w", str(file), "-c", str(config))
    ended = daemons.portfire("dispatcher", "--drain", *flags)
    assert ended.code == 0, ended.errors
    _check_gpu_only(launchpad, "mine")


def test_a_launchpad_named_in_fireworks_configuration_is_found(
    daemons: Daemons, launchpad: LaunchPad, launchpad_file: str, tmp_path: Path
) -> None:
    config = tmp_path / "FW_config.yaml"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    config.write_text(yaml.safe_dump({"LAUNCHPAD_LOC": launchpad_file}))
    launchpad.add_wf(tasks.script("job"))
    daemons.start_executor()
    ended = portfire(
        elsewhere, "dispatcher", "--drain", FW_CONFIG_FILE=str(config), **daemons.variables
    )
    assert ended.code == 0, ended.errors
    check_completed_once(launchpad)
    # The same for a run on one machine, which else would take the embedded LaunchPad.
    launchpad.add_wf(tasks.script("another"))
    ended = portfire(elsewhere, "run", "--threads", "1", FW_CONFIG_FILE=str(config))
    assert ended.code == 0, ended.errors
    assert "embedded" not in ended.errors
    check_completed_once(launchpad)


def test_a_settings_file_may_say_all_and_flags_go_over_it(
    daemons: Daemons, launchpad: LaunchPad, launchpad_file: str, tmp_path: Path
) -> None:
    settings = tmp_path / "settings.yml"
    values = {"drain": True, "max_in_flight": 1, "prefix": "of-the-file", "pool": "of-the-file"}
    settings.write_text(yaml.safe_dump(values))
    launchpad.add_wf(tasks.script("job"))
    daemons.start_executor("gpu")
    # The environment's prefix and the flag's pool: only so the executor gets the job.
    flags = ("-l", launchpad_file, "--pool", "gpu", str(settings))
    ended = daemons.portfire("dispatcher", *flags)
    assert ended.code == 0, ended.errors
    check_completed_once(launchpad)


def _add_of_categories(launchpad: LaunchPad) -> None:
    for category in ("gpu", "cpu"):
        launchpad.add_wf(tasks.script(category, _category=category))
    launchpad.add_wf(Firework(PyTask(func="builtins.print"), name="none"))


def _check_gpu_only(launchpad: LaunchPad, fworker: str) -> None:
    assert states(launchpad) == {"gpu": "COMPLETED", "cpu": "READY", "none": "READY"}
    [launch] = launchpad.launches.find({})
    assert launch["fworker"]["name"] == fworker
    check_consistent(launchpad)


def _error(ended: Ended) -> str:
    """The one line that is an error, beside what a daemon says of itself."""
    [line] = [line for line in ended.errors.splitlines() if line.startswith("portfire: ")]
    assert "Traceback" not in ended.errors
    return line
