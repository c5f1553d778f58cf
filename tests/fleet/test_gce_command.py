"""`portfire gce` as a user types it: what it prints, its exit codes, its one-line errors."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.commands.programs import finish, start
from tests.faults.site import environment
from tests.fleet.conftest import PROJECT, Command
from tests.services.gce import FakeGce, Fault
from tests.waiting import wait_until

CREATE = ("create", "sim", "-f", "fireworker", "--zone", "europe-west4-a")


def _requests(text: str) -> list[dict[str, Any]]:
    """JSON documents, one after the other."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while text[at:].strip():
        document, at = decoder.raw_decode(text, at)
        found.append(document)
        at += len(text[at:]) - len(text[at:].lstrip())
    return found


def test_from_making_to_deleting(gce: FakeGce, command: Command) -> None:
    made = command(*CREATE, "-c2", "-b7", "-m", "storage=gs://b/x=1,y", "-m", "pool=gpu", "--spot")
    assert (made.code, made.errors) == (0, "")
    assert made.output.splitlines() == [
        "made: sim-7 in europe-west4-a, e2-standard-2",
        "made: sim-8 in europe-west4-a, e2-standard-2",
    ]
    assert gce.attributes("sim-7") == {"storage": "gs://b/x=1,y", "pool": "gpu"}
    listed = command("list", "sim")
    assert [line.split()[:3] for line in listed.output.splitlines()[1:]] == [
        ["sim-7", "europe-west4-a", "RUNNING"],
        ["sim-8", "europe-west4-a", "RUNNING"],
    ]
    as_json = [json.loads(line) for line in command("list", "--json").output.splitlines()]
    assert [vm["name"] for vm in as_json] == ["sim-7", "sim-8"]
    assert as_json[0]["spot"] is True
    assert command("set-metadata", "sim", "-m", "a=1", "--remove", "pool").code == 0
    assert command("quit-soon", "sim", "-b", "8").output == "set: sim-8 in europe-west4-a\n"
    assert gce.attributes("sim-8") == {"storage": "gs://b/x=1,y", "a": "1", "quit": "soon"}
    assert command("quit-when-idle", "sim").code == 0
    assert gce.attributes("sim-7")["quit"] == "when-idle"
    deleted = command("delete", "sim", "--yes")
    assert deleted.output.splitlines()[0] == "deleted: sim-7 in europe-west4-a"
    assert gce.names == []
    assert command("delete", "sim", "--yes").errors == "portfire: there are no VMs of sim\n"


@pytest.mark.parametrize("place", [("--zone", "europe-west4-a"), ("--region", "europe-west4")])
def test_a_dry_run_prints_exactly_what_would_be_sent(
    gce: FakeGce, command: Command, place: tuple[str, str]
) -> None:
    words: tuple[str, ...] = ("create", "sim", "-f", "fireworker", "-c2", "--spot", *place)
    words += ("-m", "a=b", "--max-run", "8h", "-o", "boot-disk-size=50GB")
    words += ("--machine-type", "n2-standard-2,e2-small")
    shown = _requests(command(*words, "--dry-run").output)
    assert gce.calls == []
    assert command(*words).code == 0
    method = "instances.insert" if place[0] == "--zone" else "regionInstances.bulkInsert"
    sent = [call.body for call in gce.called(method)]
    batch = shown[0]["body"].get("instanceProperties", shown[0]["body"])["labels"]["portfire_batch"]
    first = json.dumps([item["body"] for item in shown], sort_keys=True)
    sent.sort(key=lambda body: str(body.get("name")))
    actual = sent[0].get("instanceProperties", sent[0])["labels"]["portfire_batch"]
    assert first.replace(batch, actual) == json.dumps(sent, sort_keys=True)
    prefix = f"/compute/v1/projects/{PROJECT}/{place[0].strip('-')}s/{place[1]}/instances"
    assert shown[0]["path"].startswith(prefix)


def test_dry_runs_of_changes_change_nothing(gce: FakeGce, command: Command) -> None:
    command(*CREATE, "-m", "a=1")
    [request] = _requests(command("quit-soon", "sim", "-d").output)
    assert request["body"]["items"] == [
        {"key": "a", "value": "1"},
        {"key": "quit", "value": "soon"},
    ]
    assert "fingerprint" in request["body"]
    [request] = _requests(command("delete", "sim", "-d").output)
    assert request["method"] == "DELETE"
    assert request["path"].endswith("/zones/europe-west4-a/instances/sim-0")
    assert gce.attributes("sim-0") == {"a": "1"}


def test_partial_success_is_told_vm_by_vm_and_is_exit_code_1(
    gce: FakeGce, command: Command
) -> None:
    gce.stock_out(times=1)
    ended = command(*CREATE, "-c2")
    assert ended.code == 1
    assert len(ended.output.splitlines()) == 1
    assert "ZONE_RESOURCE_POOL_EXHAUSTED" in ended.error_line
    assert "use --region instead of --zone" in ended.error_line
    assert len(gce.names) == 1


def test_outcomes_as_json(gce: FakeGce, command: Command) -> None:
    gce.stock_out()
    [outcome] = [json.loads(line) for line in command(*CREATE, "--json").output.splitlines()]
    assert outcome["ok"] is False
    assert outcome["code"] == "ZONE_RESOURCE_POOL_EXHAUSTED"
    assert outcome["remedy"]


def test_thousands_are_capped_with_a_warning(
    gce: FakeGce, command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    ended = command(*CREATE, "-c", "5000", "--dry-run")
    assert len(_requests(ended.output)) == 100
    assert "5000 VMs were asked for; 100 are made at most" in caplog.text
    assert gce.calls == []


WRONG = {
    "no VM": ((*CREATE, "-c0"), "--count is 0"),
    "fewer": ((*CREATE, "-c", "-2"), "--count is -2"),
    "base": ((*CREATE, "-b", "-1"), "--base is -1"),
    "minimum": ((*CREATE, "-c2", "--min-count", "3"), "--min-count is 3"),
    "name": (("create", "!!!", "--zone", "europe-west4-a"), "'!!!' is no name for VMs"),
    "no place": (("create", "sim", "-f", "x"), "name a place"),
    "two places": ((*CREATE, "--region", "europe-west4"), "not both"),
    "planet": (("create", "sim", "--region", "mars", "-f", "x"), "'mars' is no region"),
    "set and removed": (("set-metadata", "sim", "-m", "a=1", "--remove", "a"), "a cannot be set"),
    "not a time": ((*CREATE, "--timeout", "nan"), "--timeout is nan"),
    "region as zone": (("create", "sim", "--zone", "europe-west4", "-f", "x"), "by --region"),
    "zone as region": (("create", "sim", "--region", "us-central1-a", "-f", "x"), "by --zone"),
    "option": ((*CREATE, "-o", "bootdisk=5"), "no such option"),
    "secret": ((*CREATE, "-m", "password=x"), "looks like a secret"),
    "metadata": ((*CREATE, "-m", "quit"), "KEY=VALUE"),
    "machine": ((*CREATE, "--machine-type", "BIG"), "'BIG' is no machine type"),
    "time": ((*CREATE, "--max-run", "long"), "a time such as"),
    "timeout": ((*CREATE, "--timeout", "0"), "--timeout is 0"),
    "family": (("create", "sim", "-f", "nope", "--zone", "europe-west4-a"), "no image family"),
    "no container": (
        ("create", "sim", "-f", "cos-stable", "--zone", "europe-west4-a"),
        "-m portfire_image=IMAGE",
    ),
    "nothing to set": (("set-metadata", "sim"), "no metadata to set"),
    "not on a terminal": (("delete", "sim"), "say --yes"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_line_and_exit_code_2(
    gce: FakeGce, command: Command, case: str
) -> None:
    words, says = WRONG[case]
    if words[0] == "delete":
        command(*CREATE)
    ended = command(*words)
    assert ended.code == 2, ended
    assert says in ended.error_line
    assert gce.called("instances.insert") == [] or words[0] == "delete"
    assert gce.called("instances.delete") == []


def test_a_refused_login_is_one_line(gce: FakeGce, command: Command) -> None:
    gce.faults.append(Fault(".*", 401, "authError", "Invalid Credentials", times=100))
    ended = command("list", "sim")
    assert ended.code == 2
    assert "gcloud auth application-default login" in ended.error_line


def test_no_credentials_are_one_line(
    gce: FakeGce, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    ended = command("list", "sim")
    assert ended.code == 2
    assert "no Google Cloud credentials found" in ended.error_line
    assert gce.calls == []


def test_credentials_that_are_no_file_are_named(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    ended = command("list", "sim")
    assert ended.code == 2
    assert f"GOOGLE_APPLICATION_CREDENTIALS is '{tmp_path}/key.json'" in ended.error_line


def test_a_zone_that_there_is_not_is_wrong_usage(command: Command) -> None:
    ended = command("create", "sim", "-f", "fireworker", "--zone", "europe-west9-z")
    assert ended.code == 2
    assert "zones/europe-west9-z' was not found" in ended.error_line


@pytest.mark.parametrize("words", [("delete", "sim", "--yes"), ("quit-soon", "sim")])
def test_vms_that_could_not_be_seen_are_no_success(
    gce: FakeGce, command: Command, caplog: pytest.LogCaptureFixture, words: tuple[str, ...]
) -> None:
    assert command(*CREATE).code == 0
    gce.methods.unreachable = {"us-central1-a"}
    assert command(*words).code == 1
    assert command(words[0], "other", *words[2:]).code == 1
    assert "the VMs in us-central1-a cannot be seen now" in caplog.text


def test_numbers_that_there_are_not_are_said_so(command: Command) -> None:
    assert command(*CREATE).code == 0
    ended = command("quit-soon", "sim", "-b", "3")
    assert (ended.code, ended.errors) == (
        0,
        "portfire: there are no VMs of sim with these numbers\n",
    )


def test_a_project_that_there_is_not_is_one_line(command: Command) -> None:
    ended = command("list", "--project", "nope")
    assert ended.code == 2
    assert "projects/nope' was not found" in ended.error_line


def _variables(gce: FakeGce) -> dict[str, str]:
    return {
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": gce.address,
        "GOOGLE_CLOUD_PROJECT": PROJECT,
    }


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_takes_away_what_it_made(
    gce: FakeGce, tmp_path: Path, number: signal.Signals
) -> None:
    gce.world.seconds = 1.0
    process = start(tmp_path, "gce", *CREATE, "-c6", **_variables(gce))
    wait_until(lambda: len(gce.called("instances.insert")) >= 2, 60.0, "the first requests")
    process.send_signal(number)
    ended = finish(process)
    assert ended.code == 130
    assert "interrupted: deleting" in ended.errors
    assert "Traceback" not in ended.errors
    assert gce.names == []
    started = len(gce.called("instances.insert"))
    assert len(gce.called("instances.delete")) == started, "each that was asked for was deleted"


@pytest.mark.parametrize(("answer", "left"), [("y", []), ("", ["sim-0"])])
def test_on_a_terminal_it_asks_first(
    gce: FakeGce, command: Command, tmp_path: Path, answer: str, left: list[str]
) -> None:
    command(*CREATE)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "portfire", "gce", "delete", "sim"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=environment(tmp_path, **_variables(gce)),
        cwd=tmp_path,
        text=True,
    )
    os.close(theirs)
    said = ""
    while "[y/N]" not in said:
        said += os.read(ours, 1000).decode()
    assert "VM sim-0" in said
    os.write(ours, f"{answer}\n".encode())
    output, _ = process.communicate(timeout=60)
    os.close(ours)
    assert gce.names == left
    assert process.returncode == (1 if left else 0)
    assert ("deleted: sim-0" in output) == (not left)
