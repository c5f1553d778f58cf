"""`portfire gce doctor` and `portfire gce setup`: what an empty project lacks, and makes."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from fleet import doctor
from messaging.broker import Broker
from messaging.names import Names, pool_filter
from messaging.pubsub import PubSub
from tests.commands.programs import Ended
from tests.fleet.conftest import PROJECT, Command
from tests.services.gce import FakeGce
from tests.services.gcp_admin import FakeAdmin, serving_admin
from tests.services.gcp_admin_methods import AGENT

ACCOUNT = f"portfire-executor@{PROJECT}.iam.gserviceaccount.com"
MEMBER = f"serviceAccount:{ACCOUNT}"
SITE = ("--bucket", "b-files", "--region", "europe-west4")


@pytest.fixture(scope="module")
def private_key() -> str:
    """A key such as Google gives to service accounts."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


@pytest.fixture
def admin(
    broker: Broker, private_key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FakeAdmin]:
    """A project with nothing in it, and credentials for it."""
    with serving_admin() as admin:
        info = {
            "type": "service_account",
            "client_email": "admin@my-project.iam.gserviceaccount.com",
            "private_key": private_key,
            "private_key_id": "1",
            "token_uri": f"{admin.url}/token",
            "project_id": PROJECT,
        }
        file = tmp_path / "key.json"
        file.write_text(json.dumps(info))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", broker.address)
        for name, value in admin.variables.items():
            monkeypatch.setenv(name, value)
        for name in ("STORAGE_EMULATOR_HOST", "STORAGE", "PORTFIRE_PREFIX", "PORTFIRE_POOL"):
            monkeypatch.delenv(name, raising=False)
        yield admin


def _states(ended: Ended) -> dict[str, str]:
    found = [json.loads(line) for line in ended.output.splitlines()]
    return {finding["subject"]: finding["state"] for finding in found}


def _mends(ended: Ended) -> list[str]:
    return [it["mend"] for it in map(json.loads, ended.output.splitlines()) if it["mend"]]


@pytest.mark.usefixtures("gce")
def test_from_an_empty_project_to_one_that_lacks_nothing(
    admin: FakeAdmin, command: Command, broker: Broker
) -> None:
    before = command("doctor", "--json", *SITE)
    assert before.code == 1
    states = _states(before)
    assert [subject for subject, state in states.items() if state == "ok"] == [
        "credentials",
        "your rights",
        "image",
        "network",
    ]
    [make] = {mend for mend in _mends(before) if mend.startswith("portfire gce setup")}
    made = command(*shlex.split(make)[2:])
    assert (made.code, made.errors) == (0, "")
    assert all(line.startswith("made: ") for line in made.output.splitlines()), made.output
    after = command("doctor", *SITE)
    assert after.code == 0, after.output
    lines = after.output.splitlines()
    assert len(lines) == 11
    assert all(line.startswith("ok: ") for line in lines)
    # The same again changes nothing.
    again = command("setup", "--project", PROJECT, *SITE)
    assert again.code == 0
    assert all(line.startswith("there already: ") for line in again.output.splitlines())
    role = f"projects/{PROJECT}/roles/portfireExecutor"
    assert admin.members(f"v1/projects/{PROJECT}", role) == [MEMBER]
    jobs = f"v1/projects/{PROJECT}/subscriptions/portfire-jobs-default"
    assert admin.members(jobs, "roles/pubsub.subscriber") == [f"serviceAccount:{AGENT}"]
    assert admin.buckets["b-files"]["location"] == "EUROPE-WEST4"
    with PubSub(PROJECT, broker.address) as pubsub:
        assert pubsub.subscription_exists(Names().pool_updates("default"))


@pytest.fixture
def complete(admin: FakeAdmin, gce: FakeGce, command: Command) -> FakeAdmin:  # noqa: ARG001 - the command needs it
    """A project that lacks nothing."""
    assert command("setup", *SITE).code == 0
    return admin


def _break_apis(admin: FakeAdmin, _gce: FakeGce) -> None:
    admin.enabled.discard("logging.googleapis.com")


def _break_rights(admin: FakeAdmin, _gce: FakeGce) -> None:
    admin.lacking.add("compute.instances.create")


def _break_acting(admin: FakeAdmin, _gce: FakeGce) -> None:
    admin.lacking.add("iam.serviceAccounts.actAs")


def _break_account(admin: FakeAdmin, _gce: FakeGce) -> None:
    admin.accounts[ACCOUNT]["disabled"] = True


def _break_role(admin: FakeAdmin, _gce: FakeGce) -> None:
    role = admin.roles[f"projects/{PROJECT}/roles/portfireExecutor"]
    role["includedPermissions"].remove("logging.logEntries.create")


def _break_dead_letters(admin: FakeAdmin, _gce: FakeGce) -> None:
    del admin.policies[f"v1/projects/{PROJECT}/topics/portfire-jobs-dead"]


def _break_bucket(admin: FakeAdmin, _gce: FakeGce) -> None:
    admin.buckets.clear()


def _break_bucket_policy(admin: FakeAdmin, _gce: FakeGce) -> None:
    admin.buckets["b-files"]["iam"] = {"etag": "x"}


def _break_network(_admin: FakeAdmin, gce: FakeGce) -> None:
    gce.methods.subnets.clear()


@pytest.mark.parametrize(
    ("spoil", "subject", "mend"),
    [
        (_break_apis, "APIs", "gcloud services enable logging.googleapis.com --project my-project"),
        (_break_rights, "your rights", "--role roles/compute.instanceAdmin.v1"),
        (_break_acting, "service account", "--role roles/iam.serviceAccountUser"),
        (_break_account, "service account", f"gcloud iam service-accounts enable {ACCOUNT}"),
        (_break_role, "roles", "portfire gce setup --project my-project --bucket b-files"),
        (_break_dead_letters, "dead letters", "portfire gce setup --project my-project"),
        (_break_bucket, "bucket", "gcloud storage buckets create gs://b-files"),
        (_break_bucket_policy, "bucket", f"--member {MEMBER} --role roles/storage.objectUser"),
        (_break_network, "network", "gcloud compute networks create default"),
    ],
)
def test_what_is_missing_is_one_line_with_the_command_that_mends_it(
    complete: FakeAdmin,
    gce: FakeGce,
    command: Command,
    spoil: Callable[[FakeAdmin, FakeGce], None],
    subject: str,
    mend: str,
) -> None:
    spoil(complete, gce)
    ended = command("doctor", *SITE)
    assert ended.code == 1
    [line] = [line for line in ended.output.splitlines() if not line.startswith("ok: ")]
    assert line.startswith(f"problem: {subject}: ")
    assert mend in line
    if "portfire gce setup" in mend:
        assert command("setup", *SITE).code == 0
        assert command("doctor", *SITE).code == 0


def test_topics_are_looked_for_by_prefix_and_pool(complete: FakeAdmin, command: Command) -> None:
    del complete
    ended = command("doctor", "--pool", "gpu", *SITE)
    [line] = [line for line in ended.output.splitlines() if line.startswith("problem: topics")]
    assert "portfire-jobs-gpu" in line
    assert "portfire gce setup --project my-project --pool gpu --bucket b-files" in line


def test_vms_without_an_address_need_private_access_and_nat(
    complete: FakeAdmin, gce: FakeGce, command: Command
) -> None:
    del complete
    ended = command("doctor", "--json", "--no-address", *SITE)
    access, nat = _mends(ended)
    assert access.endswith("--region europe-west4 --enable-private-ip-google-access")
    assert nat.startswith("gcloud compute routers create portfire --network default")
    gce.methods.subnets["default"] = True
    gce.methods.nats["europe-west4"] = "portfire"
    assert command("doctor", "--no-address", *SITE).code == 0


@pytest.mark.usefixtures("complete")
def test_an_image_family_that_is_not_there_is_told_of(command: Command) -> None:
    ended = command("doctor", "-f", "my-image", *SITE)
    assert _problem(ended).startswith("problem: image: ")


def _problem(ended: Ended) -> str:
    assert ended.code == 1
    [line] = [line for line in ended.output.splitlines() if not line.startswith("ok: ")]
    return line


def test_roles_of_googles_own_will_do_too(complete: FakeAdmin, command: Command) -> None:
    whole = complete.policies[f"v1/projects/{PROJECT}"]
    own = ("pubsub.editor", "logging.logWriter", "compute.instanceAdmin.v1", "storage.objectAdmin")
    whole["bindings"] = [{"role": f"roles/{role}", "members": [MEMBER]} for role in own]
    complete.buckets["b-files"]["iam"] = {"etag": "x"}
    assert command("doctor", *SITE).code == 0
    # A condition may not hold.
    whole["bindings"][0]["condition"] = {"expression": "false"}
    assert _problem(command("doctor", *SITE)).startswith("problem: roles: ")


def test_who_may_not_look_is_told_so_for_each_check(complete: FakeAdmin, command: Command) -> None:
    complete.refuse["get_policy"] = 403
    ended = command("doctor", *SITE)
    assert ended.code == 1
    said = [line for line in ended.output.splitlines() if line.startswith("problem: ")]
    assert [line.split(": ")[1] for line in said] == ["roles", "dead letters"]
    assert all("you may not look" in line for line in said)


def test_without_credentials_it_is_one_line(
    gce: FakeGce, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    del gce
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    ended = command("doctor")
    assert ended.code == 1
    [line] = ended.output.splitlines()
    assert line.startswith("problem: credentials: no Google Cloud credentials found: run `gcloud")
    assert command("setup").error_line.startswith("portfire: no Google Cloud credentials found")


def test_credentials_of_no_use_are_one_line(admin: FakeAdmin, command: Command) -> None:
    admin.refuse["token"] = 400
    ended = command("doctor")
    assert ended.code == 1
    assert len(ended.output.splitlines()) == 1
    assert "expired or of no use" in ended.output


def test_a_service_that_hangs_does_not_hold_the_doctor_up(
    complete: FakeAdmin, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete.hangs = "role"
    monkeypatch.setattr(doctor.examine, "__defaults__", (1.0,))
    ended = command("doctor", *SITE)
    assert ended.code == 1
    assert "problem: roles: no answer from Google within 1 s" in ended.output
    assert "ok: image: " in ended.output


def test_a_new_account_and_other_writers_are_waited_for(
    admin: FakeAdmin, gce: FakeGce, command: Command
) -> None:
    del gce
    admin.unknown_for, admin.conflicts = 1, 1
    assert command("setup", *SITE).code == 0
    role = f"projects/{PROJECT}/roles/portfireExecutor"
    assert admin.members(f"v1/projects/{PROJECT}", role) == [MEMBER]


def test_errors_that_pass_are_waited_for(complete: FakeAdmin, command: Command) -> None:
    complete.busy = 3
    assert command("doctor", *SITE).code == 0
    complete.busy = 2
    assert command("setup", *SITE).code == 0


def test_what_was_in_a_policy_stays(admin: FakeAdmin, command: Command) -> None:
    other = {"role": "roles/viewer", "members": ["user:a@b.c"], "condition": {"expression": "x"}}
    admin.policies[f"v1/projects/{PROJECT}"] = {"etag": "e", "version": 3, "bindings": [other]}
    assert command("setup").code == 0
    assert admin.policies[f"v1/projects/{PROJECT}"]["bindings"][0] == other


def test_a_bucket_of_somebody_elses_and_a_refusal_are_one_line(
    admin: FakeAdmin, command: Command
) -> None:
    admin.foreign_buckets.add("b-files")
    ended = command("setup", *SITE)
    assert ended.code == 2
    assert ended.error_line == "portfire: gs://b-files is somebody else's: choose another name"
    admin.refuse["make_role"] = 403
    assert command("setup").error_line.startswith("portfire: cannot make role portfireExecutor: ")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--pool", "a b"), "--pool is 'a b': it must be letters, digits, - and _"),
        (("--region", "europe-west4-a"), "--region is 'europe-west4-a'"),
        (("--bucket", "B"), "--bucket is 'B'"),
        (("--service-account", "x"), "--service-account is 'x'"),
        (("--prefix", "1"), "--prefix is '1'"),
        (("--project", "My Project"), "--project is 'My Project'"),
    ],
)
@pytest.mark.usefixtures("gce")
def test_wrong_names_are_one_line(command: Command, flags: tuple[str, ...], said: str) -> None:
    ended = command("setup", "--print", "gcloud", *flags)
    assert ended.code == 2
    assert said in ended.error_line


@pytest.mark.usefixtures("gce")
def test_printing_needs_no_credentials_and_says_what_setup_makes(command: Command) -> None:
    words = ("--pool", "default", "--pool", "gpu", "--dispatcher-account", "portfire-dispatcher")
    text = command("setup", "--print", "gcloud", *words, *SITE).output
    lines = [shlex.split(line) for line in text.splitlines()]
    made = [line for line in lines if line[1:4] == ["pubsub", "subscriptions", "create"]]
    assert {line[4] for line in made} == {
        f"portfire-{kind}-{pool}"
        for kind in ("jobs", "jobs-dead", "updates")
        for pool in ("default", "gpu")
    }
    filters = {line[4]: line[line.index("--message-filter") + 1] for line in made}
    assert filters["portfire-jobs-default"] == pool_filter("default")
    assert f"serviceAccount:portfire-dispatcher@{PROJECT}.iam.gserviceaccount.com" in text
    terraform = command("setup", "--print", "terraform", *words, *SITE).output
    blocks = _blocks(terraform)
    for resource, name in (
        ("google_pubsub_topic", "portfire-jobs-dead"),
        ("google_pubsub_subscription", "portfire-jobs-gpu"),
        ("google_storage_bucket", "files"),
        ("google_project_iam_member", "dispatcher"),
    ):
        assert f'resource "{resource}" "{name}"' in blocks


def _blocks(text: str) -> dict[str, Any]:
    """Heads of Terraform's blocks; fails when braces do not match or what is named is not there."""
    assert text.count("{") == text.count("}")
    heads = [line[:-2] for line in text.splitlines() if line.endswith(" {") and line[0] != " "]
    assert len(heads) == len(set(heads))
    return dict.fromkeys(heads)
