"""The log of real daemons: for people, for collectors, in Cloud Logging."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from messaging.broker import Broker
from tests.commands.programs import portfire
from tests.executor.installation import Installation
from tests.executor.workflows import launch, py_task
from tests.faults.site import Daemon, environment
from tests.services.cloud_logging import FakeCloudLogging
from tests.services.metadata_server import MetadataServer, metadata_server
from tests.waiting import wait_until

Start = Callable[..., Daemon]


@pytest.fixture
def metadata() -> Iterator[MetadataServer]:
    """The metadata server of a VM."""
    with metadata_server("vm-1", "my-project") as server:
        yield server


@pytest.fixture
def installation(broker: Broker, tmp_path: Path) -> Iterator[Installation]:
    """Topics, subscriptions, and what is said on them."""
    installation = Installation(broker, tmp_path / "work")
    yield installation
    installation.pubsub.close()


@pytest.fixture
def start(installation: Installation, cloud: FakeCloudLogging, tmp_path: Path) -> Iterator[Start]:
    """Starts executors that know the fake; returns when they take jobs."""
    daemons: list[Daemon] = []

    def start(*flags: str, **variables: str) -> Daemon:
        known = {
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING": cloud.url,
            "PUBSUB_EMULATOR_HOST": installation.broker.address,
            "PORTFIRE_WORKDIR": str(tmp_path / "work"),
            "THREADS": "1",
        }
        daemon = Daemon(
            "executor",
            [sys.executable, "-m", "portfire", "executor", *flags],
            environment(tmp_path, **{**known, **variables}),
            tmp_path / f"executor-{len(daemons)}.log",
        )
        daemons.append(daemon)
        wait_until(
            lambda: " takes jobs of pool " in daemon.said or not daemon.is_alive,
            timeout=60.0,
            what="the executor",
        )
        return daemon

    yield start
    for daemon in daemons:
        daemon.kill()
        sys.stdout.write(f"----- {daemon.process.returncode}\n{daemon.said}\n")


def _run_a_job(installation: Installation, name: str = "job-1") -> None:
    job = launch(1, py_task("math.floor", 1.5), job=name, name="floor", workflow="sums")
    installation.submit(job)
    assert installation.finished(timeout=60.0)[-1].state == "COMPLETED"


def test_a_job_is_in_cloud_logging_with_the_vm_and_its_labels(
    installation: Installation, cloud: FakeCloudLogging, metadata: MetadataServer, start: Start
) -> None:
    metadata.set_attributes(log_format="cloud", development="true")
    executor = start(GCE_METADATA_HOST=metadata.host)
    _run_a_job(installation)
    executor.send(signal.SIGTERM)
    assert executor.wait(60.0) == 0
    of_job = {"executor": "vm-1", "pool": "default", "job": "job-1", "job_name": "floor"}
    of_job |= {"firework": "1", "workflow": "sums", "attempt": "1"}
    assert cloud.texts(**of_job) == ["job job-1 started: floor", "job job-1 COMPLETED"]
    # Flushed at the end.
    assert cloud.texts()[-1] == "executor vm-1 stopped"
    resource = cloud.entries[0].resource
    assert resource.type == "gce_instance"
    expected = {"project_id": "my-project", "instance_id": "4711", "zone": "us-central1-a"}
    assert dict(resource.labels) == expected
    # The console says the same.
    assert "INFO job job-1 COMPLETED\n" in executor.said


def test_a_log_service_that_hangs_or_refuses_costs_log_lines_only(
    installation: Installation, cloud: FakeCloudLogging, start: Start
) -> None:
    cloud.refuse = grpc.StatusCode.PERMISSION_DENIED
    executor = start("--log-format", "cloud", GOOGLE_CLOUD_PROJECT="portfire-local")
    _run_a_job(installation)
    wait_until(lambda: "jobs go on" in executor.said, what="the complaint")
    cloud.may_answer.clear()
    cloud.refuse = None
    executor.send(signal.SIGTERM)
    assert executor.wait(60.0) == 0
    assert "log entries did not reach Cloud Logging" in executor.said
    assert "Traceback" not in executor.said


def test_json_is_one_object_a_line_with_labels(installation: Installation, start: Start) -> None:
    executor = start(PORTFIRE_LOG_FORMAT="json", PORTFIRE_LOG_LEVEL="info")
    _run_a_job(installation)
    executor.send(signal.SIGTERM)
    assert executor.wait(60.0) == 0
    lines = [json.loads(line) for line in executor.said.splitlines()]
    [ended] = [line for line in lines if line["message"] == "job job-1 COMPLETED"]
    assert ended["severity"] == "INFO"
    assert (ended["job"], ended["workflow"], ended["pool"]) == ("job-1", "sums", "default")
    assert ended["time"].endswith("Z")


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"PORTFIRE_LOG_FORMAT": "yaml"}, "environment PORTFIRE_LOG_FORMAT is 'yaml': "),
        ({"PORTFIRE_LOG_FORMAT": "cloud"}, "--log-format cloud needs a project"),
    ],
)
def test_a_wrong_setting_is_one_line(tmp_path: Path, variables: dict[str, str], said: str) -> None:
    ended = portfire(tmp_path, "executor", NO_GCE_CHECK="true", **variables)
    assert ended.code == 2
    assert said in ended.error_line


def test_the_reason_of_an_end_is_json_too(tmp_path: Path) -> None:
    ended = portfire(tmp_path, "executor", "--log-format", "json", NO_GCE_CHECK="true")
    assert ended.code == 2
    [line] = ended.errors.splitlines()
    said = json.loads(line)
    assert (said["severity"], said["message"][:20]) == ("CRITICAL", "no Pub/Sub to talk t")
