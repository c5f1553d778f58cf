"""The files that make an executor of a VM: startup.sh with stand-ins for what it calls."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.faults.site import REPOSITORY
from tests.services.metadata_server import MetadataServer

FLEET = REPOSITORY / "fleet"
#: What the script may use as it is.
_TOOLS = ("bash", "sed", "grep", "mktemp", "mkdir", "mv", "cat", "echo")
#: Stand-ins that only note that they were called.
_NOTED = ("useradd", "usermod", "systemctl", "shutdown", "sleep")
_VENV = """\
[ "$1" = -c ] && exit 1  # there is no ensurepip yet
mkdir -p "$3/bin"
{ echo '#!/bin/bash'
  echo "echo pip \\"\\$@\\" >>$CALLS"
  echo "touch $3/bin/portfire; chmod +x $3/bin/portfire"; } >"$3/bin/pip"
printf '#!/bin/bash\\necho "[Unit]"\\n' >"$3/bin/python"
chmod +x "$3/bin/"*
"""
_CURL = """\
case "$*" in *googleapis.com*) exit 0 ;; esac
exec {curl} "$@"
"""


@dataclass
class Machine:
    """A root directory, and a PATH in which only the stand-ins are."""

    root: Path
    environ: dict[str, str]

    def stand_in(self, name: str, body: str = "") -> None:
        file = self.root / "commands" / name
        file.write_text(f'#!/bin/bash\necho "{name} $*" >>"$CALLS"\n{body}\n')
        file.chmod(0o755)

    def start_up(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [shutil.which("bash") or "bash", str(FLEET / "startup.sh")],
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=60,
        )

    @property
    def calls(self) -> str:
        return Path(self.environ["CALLS"]).read_text()


@pytest.fixture
def machine(tmp_path: Path, metadata: MetadataServer) -> Machine:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("there is no curl")
    commands = tmp_path / "commands"
    (tmp_path / "etc" / "systemd" / "system").mkdir(parents=True)
    commands.mkdir()
    for tool in _TOOLS:
        (commands / tool).symlink_to(shutil.which(tool) or f"/bin/{tool}")
    for tool in ("touch", "chmod"):
        (commands / tool).symlink_to(shutil.which(tool) or f"/bin/{tool}")
    machine = Machine(
        tmp_path,
        {
            "PATH": str(commands),
            "CALLS": str(tmp_path / "calls"),
            "GCE_METADATA_HOST": metadata.host,
            "PORTFIRE_STARTUP_ROOT": str(tmp_path),
            "TMPDIR": str(tmp_path),
        },
    )
    for name in (*_NOTED, "apt-get"):
        machine.stand_in(name)
    machine.stand_in("id", "exit 1")
    machine.stand_in("python3", _VENV)
    machine.stand_in("curl", _CURL.format(curl=curl))
    return machine


def test_a_plain_machine_gets_all_and_the_service_is_started(
    machine: Machine, metadata: MetadataServer
) -> None:
    metadata.set_attributes(portfire_package="portfire==1.2", pip_packages="numpy scipy")
    done = machine.start_up()
    assert done.returncode == 0, done.stderr
    calls = machine.calls
    assert "install --no-install-recommends docker.io python3-venv" in calls
    assert "pip install --quiet --disable-pip-version-check portfire==1.2 numpy scipy" in calls
    assert "usermod --append --groups docker portfire" in calls
    assert calls.rstrip().endswith("systemctl enable --now portfire-executor.service")
    unit = machine.root / "etc/systemd/system/portfire-executor.service"
    assert unit.read_text().startswith("[Unit]")
    assert (machine.root / "etc/portfire.yml").read_text().startswith("#")
    assert "shutdown" not in calls
    assert "sleep" not in calls


def test_the_next_boot_installs_nothing(machine: Machine) -> None:
    assert machine.start_up().returncode == 0
    machine.stand_in("docker")
    Path(machine.environ["CALLS"]).unlink()
    assert machine.start_up().returncode == 0
    assert "pip" not in machine.calls
    assert "apt-get" not in machine.calls
    assert "systemctl enable --now portfire-executor.service" in machine.calls


def test_for_an_image_all_is_installed_nothing_started_and_the_vm_switched_off(
    machine: Machine, metadata: MetadataServer
) -> None:
    metadata.set_attributes(make_image="true")
    (machine.root / "etc/machine-id").write_text("0123456789abcdef")
    done = machine.start_up()
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith("portfire-startup: the image is ready: switching the VM off\n")
    calls = machine.calls
    assert "systemctl enable docker.service portfire-executor.service" in calls
    assert "--now" not in calls
    assert calls.splitlines()[-2:] == ["sleep 10", "shutdown -h now"]
    assert (machine.root / "etc/machine-id").read_text() == ""
    assert "[Unit]" in (machine.root / "etc/systemd/system/portfire-executor.service").read_text()


def test_an_image_that_lacks_something_is_not_said_to_be_ready(
    machine: Machine, metadata: MetadataServer
) -> None:
    machine.stand_in("systemctl", '[ "$1" != enable ]')
    metadata.set_attributes(make_image="true", linger_seconds="60")
    done = machine.start_up()
    assert done.returncode == 1
    assert "portfire-startup: leave_to_image failed: " in done.stderr
    assert "the image is ready" not in done.stderr
    assert machine.calls.rstrip().splitlines()[-2:][0].startswith(("sleep 60", "curl"))


def test_a_wheel_in_a_bucket_is_fetched_as_the_vm(
    machine: Machine, metadata: MetadataServer
) -> None:
    metadata.set_attributes(portfire_package="gs://wheels/portfire-1-py3-none-any.whl")
    assert machine.start_up().returncode == 0
    assert "Bearer token-of-the-vm" in machine.calls
    assert "https://storage.googleapis.com/wheels/portfire-1-py3-none-any.whl" in machine.calls
    assert "/portfire-1-py3-none-any.whl\n" in machine.calls.replace(" \n", "\n")


def test_what_fails_for_a_moment_is_tried_again(machine: Machine) -> None:
    machine.stand_in("apt-get", '[ "$(grep -c "^apt-get .* update" "$CALLS")" -ge 3 ] || exit 100')
    done = machine.start_up()
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("attempt ") == 2


def test_a_vm_on_which_it_fails_is_deleted_after_a_while(
    machine: Machine, metadata: MetadataServer
) -> None:
    machine.stand_in("apt-get", "exit 100")
    metadata.set_attributes(linger_seconds="60")
    done = machine.start_up()
    assert done.returncode == 1
    assert "install_debian_packages failed: this VM runs no executor" in done.stderr
    assert "sleep 60" in machine.calls
    assert "/projects/my-project/zones/us-central1-a/instances/vm-1" in machine.calls
    assert "shutdown" not in machine.calls


def test_one_that_may_not_be_deleted_is_switched_off_and_development_keeps_it(
    machine: Machine, metadata: MetadataServer
) -> None:
    machine.stand_in("apt-get", "exit 100")
    curl = shutil.which("curl") or ""
    body = _CURL.format(curl=curl).replace("exit 0", "exit 22")
    machine.stand_in("curl", body)
    assert machine.start_up().returncode == 1
    assert "shutdown -h now" in machine.calls
    Path(machine.environ["CALLS"]).unlink()
    metadata.set_attributes(development="true")
    assert machine.start_up().returncode == 1
    assert "shutdown" not in machine.calls


def test_the_cloud_config_is_yaml_and_its_script_is_bash(tmp_path: Path) -> None:
    text = (FLEET / "cos.yaml").read_text()
    assert text.startswith("#cloud-config\n")
    files = {entry["path"]: entry["content"] for entry in yaml.safe_load(text)["write_files"]}
    script = tmp_path / "start.sh"
    script.write_text(files["/etc/portfire/start.sh"])
    subprocess.run(["bash", "-n", script], check=True)
    assert "/etc/systemd/system/portfire-executor.service" in files


def test_the_units_leave_time_for_the_stop_and_systemd_takes_them(tmp_path: Path) -> None:
    unit = (FLEET / "portfire-executor.service").read_text()
    assert "KillMode=mixed" in unit
    [seconds] = [line for line in unit.splitlines() if line.startswith("TimeoutStopSec=")]
    # grace_seconds, stop_grace, clearing up, and three flushes of ten seconds.
    assert int(seconds.partition("=")[2]) >= 20 + 10 + 5 + 30
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze")
    file = tmp_path / "portfire-executor.service"
    file.write_text(unit.replace("/opt/portfire/bin/portfire", "/bin/true"))
    checked = subprocess.run(
        ["systemd-analyze", "verify", str(file)],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Unknown" not in checked.stderr, checked.stderr
