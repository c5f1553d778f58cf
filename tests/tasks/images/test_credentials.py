"""Credentials for registries: the Docker config, its helpers, and the VM's service account."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from google.auth.compute_engine import detect_gce_residency_linux

from executor.images.credentials import registry_credentials
from tests.tasks.images.conftest import Configure, login

GOOGLE = "europe-docker.pkg.dev"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is first in PATH."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory), prepend=os.pathsep)
    return directory


def helper(programs: Path, name: str, body: str) -> None:
    program = programs / f"docker-credential-{name}"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)


def test_without_a_config_one_is_nobody() -> None:
    assert registry_credentials("registry.example") == {}


def test_a_login_in_the_config_is_found(configure: Configure) -> None:
    configure(
        auths={
            "registry.example": login("me", "one"),
            "https://index.docker.io/v1/": login("me", "two"),
            "empty.example": {},
        }
    )
    assert registry_credentials("registry.example")["password"] == "one"
    assert registry_credentials("docker.io")["password"] == "two"
    assert registry_credentials("empty.example") == {}
    assert registry_credentials("other.example") == {}


def test_helpers_are_asked(configure: Configure, programs: Path) -> None:
    helper(
        programs, "vault", 'read server; echo "{\\"Username\\":\\"u\\",\\"Secret\\":\\"$server\\"}"'
    )
    configure(credHelpers={"registry.example": "vault"})
    assert registry_credentials("registry.example")["Password"] == "registry.example"
    assert registry_credentials("other.example") == {}
    configure(credsStore="vault")
    assert registry_credentials("other.example")["Password"] == "other.example"


def test_a_missing_helper_is_one_warning_and_the_files_own_login_counts(
    configure: Configure, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    configure(credHelpers={"registry.example": "nowhere", "both.example": "nowhere"})
    assert registry_credentials("registry.example") == {}
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "docker-credential-nowhere is not installed" in record.getMessage()
    assert len(recwarn) == 0
    auths = {"both.example": login("me", "one")}
    configure(credHelpers={"both.example": "nowhere"}, auths=auths)
    assert registry_credentials("both.example")["password"] == "one"


@pytest.mark.parametrize(
    "body",
    ["echo the-secret; exit 1", "echo no json the-secret", 'echo \'{"Secret": "the-secret"}\''],
)
def test_a_helper_that_fails_is_a_warning_without_what_it_said(
    configure: Configure, programs: Path, caplog: pytest.LogCaptureFixture, body: str
) -> None:
    helper(programs, "broken", body)
    configure(credHelpers={"registry.example": "broken"})
    assert registry_credentials("registry.example") == {}
    assert "its credential helper failed" in caplog.text
    assert "the-secret" not in caplog.text


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"auths": []}', '{"auths": {"r": 1}}', '{"auths": {"r": {"auth": "%"}}}']
)
def test_a_broken_config_is_no_login(configure: Configure, tmp_path: Path, text: str) -> None:
    configure()
    (tmp_path / "docker/config.json").write_text(text)
    assert registry_credentials("r") == {}


@pytest.fixture
def metadata() -> Iterator[str]:
    """``HOST:PORT`` of a metadata server that gives another token each time."""
    tokens = iter(range(1, 1000))

    class Metadata(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            account = "/computeMetadata/v1/instance/service-accounts/default/"
            body: Any = {"email": "vm@example", "scopes": ["cloud-platform"]}
            if path == f"{account}token":
                body = {"access_token": f"token-{next(tokens)}", "expires_in": 3599}
            asked = self.headers.get("Metadata-Flavor") == "Google"
            self.send_response(200 if path.startswith(account) and asked else 404)
            self.send_header("Metadata-Flavor", "Google")
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def ask(registries: list[str], metadata: str = "") -> list[dict[str, str]]:
    """Credentials as a fresh process gets them: google.auth reads its environment when loaded."""
    program = (
        "import json, sys; from executor.images.credentials import registry_credentials as ask; "
        "print(json.dumps([ask(registry) for registry in sys.argv[1:]]))"
    )
    environment = {**os.environ, "GCE_METADATA_HOST": metadata}
    answer = subprocess.run(
        [sys.executable, "-c", program, *registries],
        env=environment,
        stdout=subprocess.PIPE,
        timeout=60,
        check=True,
    )
    found: list[dict[str, str]] = json.loads(answer.stdout)
    return found


def test_googles_registries_get_the_vms_token_anew_each_time(metadata: str) -> None:
    found = ask(["gcr.io", "eu.gcr.io", GOOGLE, GOOGLE], metadata)
    assert found == [
        {"username": "oauth2accesstoken", "password": f"token-{number}"} for number in (1, 2, 3, 4)
    ]


def test_nobody_else_gets_the_vms_token(metadata: str) -> None:
    others = [
        "gcr.io.example",
        "notgcr.io",
        "pkg.dev",
        "docker.io",
        f"{GOOGLE}.example",
        "gcr.io:1",
    ]
    assert ask(others, metadata) == [{}] * len(others)


def test_the_configs_login_comes_before_the_vms_token(configure: Configure, metadata: str) -> None:
    configure(auths={GOOGLE: login("_json_key", "key")}, credHelpers={"gcr.io": "nowhere"})
    ours, theirs = ask([GOOGLE, "gcr.io"], metadata)
    assert ours["username"] == "_json_key"
    assert theirs["username"] == "oauth2accesstoken"


def test_a_vm_without_a_service_account_is_nobody(metadata: str) -> None:
    assert ask([GOOGLE], f"{metadata}/nothing-here") == [{}]


@pytest.mark.skipif(detect_gce_residency_linux(), reason="this is a GCE VM")
def test_outside_of_gce_nobody_is_asked() -> None:
    assert ask([GOOGLE]) == [{}]
