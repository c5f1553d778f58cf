"""A workflow file written for Borealis, unchanged, on an executor without Borealis."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fireworks import LaunchPad

from storage_backends import StorageBackend, open_backend
from tests.faults.ledger import launches_of, wait_for_all
from tests.faults.site import REPOSITORY, Site, environment
from tests.services.gcs_emulator import new_bucket

#: As Borealis' users write them: paths inside the container, and a bucket with a folder.
WORKFLOW = """\
name: letters
fws:
- fw_id: 1
  name: split
  spec:
    _tasks:
    - _fw_name: '{{borealis.docker_task.DockerTask}}'
      name: split
      image: IMAGE
      command: sh -c "while read w; do echo $w > /wcm/parts/$w; done < /wcm/words.txt;
        echo split; echo it >&2"
      internal_prefix: /wcm
      storage_prefix: BUCKET/sim/run 1
      inputs:
      - /wcm/words.txt
      outputs:
      - /wcm/parts/
      - '>/wcm/said.txt'
      - '>>/wcm/logs/split.log'
      timeout: 600
- fw_id: 2
  name: join
  spec:
    _tasks:
    - _fw_name: '{{borealis.docker_task.DockerTask}}'
      name: join
      image: IMAGE
      command: [sh, -c, cat /wcm/parts/two /wcm/parts/one > /wcm/joined.txt]
      internal_prefix: /wcm/
      storage_prefix: BUCKET/sim/run 1/
      inputs: [/wcm/parts/]
      outputs: [/wcm/joined.txt, '>>/wcm/logs/join.log']
links:
  '1': [2]
metadata: {}
"""

#: What `lpad` finds where workflows are made with Borealis: the class and its parameters.
BOREALIS = """\
from fireworks import FiretaskBase, explicit_serialize

@explicit_serialize
class DockerTask(FiretaskBase):
    required_params = ["name", "image", "command", "internal_prefix", "storage_prefix"]
    optional_params = ["inputs", "outputs", "timeout"]
"""
#: What does the same where only Portfire is.
FW_CONFIG = """\
FW_NAME_UPDATES:
  "{{borealis.docker_task.DockerTask}}": "{{executor.docker_task.DockerTask}}"
"""


@pytest.fixture
def site(launchpad: LaunchPad, tmp_path: Path) -> Iterator[Site]:
    """An installation with a dispatcher, and no executor yet."""
    with Site(tmp_path, launchpad) as site:
        site.start_broker()
        site.start_dispatcher()
        yield site


def with_borealis(home: Path) -> dict[str, str]:
    """Variables for `lpad` where Borealis is installed."""
    package = home / "packages/borealis"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "docker_task.py").write_text(BOREALIS)
    return {"PYTHONPATH": str(package.parent)}


def with_portfire(home: Path) -> dict[str, str]:
    """Variables for `lpad` where Portfire is installed and Borealis is not."""
    (home / ".fireworks").mkdir()
    (home / ".fireworks/FW_config.yaml").write_text(FW_CONFIG)
    return {"PYTHONPATH": str(REPOSITORY)}


def lpad_add(site: Site, file: Path, variables: dict[str, str]) -> None:
    """`lpad add`, as a user calls it."""
    lpad = Path(sys.executable).with_name("lpad")
    subprocess.run(
        [str(lpad), "-l", str(site.launchpad_file), "add", str(file)],
        env=environment(site.directory, **variables),
        cwd=site.directory,
        check=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("installed", "stored"),
    [
        (with_borealis, "{{borealis.docker_task.DockerTask}}"),
        (with_portfire, "{{executor.docker_task.DockerTask}}"),
    ],
)
def test_a_workflow_of_borealis_runs_unchanged(
    site: Site,
    launchpad: LaunchPad,
    docker_engine: str,
    gcs_emulator: str,
    tmp_path: Path,
    installed: Callable[[Path], dict[str, str]],
    stored: str,
) -> None:
    bucket = new_bucket(gcs_emulator)
    file = tmp_path / "letters.yaml"
    file.write_text(WORKFLOW.replace("IMAGE", docker_engine).replace("BUCKET", bucket))
    lpad_add(site, file, installed(site.directory))
    names = [_task(document)["_fw_name"] for document in launchpad.fireworks.find({})]
    assert names == [stored, stored]
    with open_backend("gcs", {"bucket": bucket, "endpoint": gcs_emulator}) as backend:
        words = tmp_path / "words.txt"
        words.write_text("one\ntwo\n")
        backend.store(words, "sim/run 1/words.txt", within=tmp_path)
        site.start_executor(storage="gcs", storage_options={"endpoint": gcs_emulator})
        wait_for_all(launchpad, 60)
        _check_files(backend, tmp_path)
    for name in ("split", "join"):
        [launch] = launches_of(launchpad, name)
        assert (launch["state"], launch["action"]["stored_data"]["exit_code"]) == ("COMPLETED", 0)
    assert all(_task(each)["_fw_name"] == stored for each in launchpad.fireworks.find({}))


def _check_files(backend: StorageBackend, directory: Path) -> None:
    def content(name: str) -> str:
        target = directory / "fetched"
        backend.fetch(name, target)
        text = target.read_text()
        target.unlink()
        return text

    assert content("sim/run 1/joined.txt") == "two\none\n"
    assert sorted(content("sim/run 1/said.txt").split()) == ["it", "split"]
    logs = {
        entry.name.rpartition("_")[2]: entry.name
        for entry in backend.entries("sim/run 1/logs/")
        if not entry.name.endswith("/")
    }
    assert set(logs) == {"split.log", "join.log"}
    log = content(logs["split.log"])
    assert "DockerTask: split" in log
    assert "\nsplit\n" in log
    assert "SUCCESSFUL" in log


def _task(document: dict[str, Any]) -> dict[str, Any]:
    [task] = document["spec"]["_tasks"]
    return dict(task)
