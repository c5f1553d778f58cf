"""Reading a metadata server: what it says, how long it may take, and what is none."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from executor.vm.metadata import MetadataConnection, metadata_host
from messaging.errors import NotFoundError, ServiceError
from tests.services.metadata_server import MetadataServer
from tests.services.mongodb import free_port
from tests.waiting import wait_until


@pytest.mark.parametrize(
    ("environ", "product", "host"),
    [
        ({"GCE_METADATA_HOST": "127.0.0.1:80"}, None, "127.0.0.1:80"),
        ({"GCE_METADATA_HOST": "127.0.0.1:80", "NO_GCE_CHECK": "true"}, None, "127.0.0.1:80"),
        ({}, "Google Compute Engine\n", "metadata.google.internal"),
        ({"NO_GCE_CHECK": "true"}, "Google Compute Engine\n", None),
        ({}, "Standard PC\n", None),
        ({}, None, None),
    ],
)
def test_a_machine_is_a_vm_when_the_environment_or_its_maker_says_so(
    tmp_path: Path, environ: dict[str, str], product: str | None, host: str | None
) -> None:
    file = tmp_path / "product_name"
    if product:
        file.write_text(product)
    assert metadata_host(environ, file) == host


def test_a_path_is_read_with_its_etag(
    metadata: MetadataServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    connection = MetadataConnection(metadata.host)
    found = connection.read("instance/name", 5.0)
    assert found.text == "vm-1"
    assert found.etag
    metadata.set_attributes(quit="soon", note="ünicode")
    attributes = connection.read("instance/attributes/", 5.0, recursive="true")
    assert '"quit": "soon"' in attributes.text


def test_a_waiting_read_returns_at_the_change(metadata: MetadataServer) -> None:
    connection = MetadataConnection(metadata.host)
    before = connection.read("instance/preempted", 5.0)
    assert before.etag
    got: list[str] = []

    def wait() -> None:
        assert before.etag
        got.append(connection.wait("instance/preempted", before.etag, 60.0).text)

    thread = threading.Thread(target=wait)
    thread.start()
    wait_until(lambda: metadata.asked_for("instance/preempted", waiting=True), what="the request")
    assert got == []
    metadata.preempt()
    thread.join(20)
    assert got == ["TRUE"]


def test_closing_ends_a_read_that_waits_and_refuses_others(metadata: MetadataServer) -> None:
    connection = MetadataConnection(metadata.host)
    etag = connection.read("instance/preempted", 5.0).etag
    assert etag
    errors: list[Exception] = []

    def wait() -> None:
        try:
            connection.wait("instance/preempted", etag, 600.0)
        except ServiceError as exc:
            errors.append(exc)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    wait_until(lambda: metadata.asked_for("instance/preempted", waiting=True), what="the request")
    connection.close()
    thread.join(20)
    assert len(errors) == 1
    with pytest.raises(ServiceError):
        connection.read("instance/name", 5.0)


def test_what_is_wrong_is_one_line(metadata: MetadataServer) -> None:
    connection = MetadataConnection(metadata.host)
    with pytest.raises(NotFoundError, match="has no instance/colour"):
        connection.read("instance/colour", 5.0)
    metadata.troubles.status = 503
    with pytest.raises(ServiceError, match="answers instance/name with 503"):
        connection.read("instance/name", 5.0)
    metadata.troubles.status, metadata.troubles.no_flavor = 200, True
    with pytest.raises(ServiceError, match="is no metadata server of Google's"):
        connection.read("instance/name", 5.0)
    metadata.troubles.delay = 30.0
    with pytest.raises(ServiceError, match="does not answer: timed out"):
        connection.read("instance/name", 0.2)
    with pytest.raises(ServiceError, match="does not answer"):
        MetadataConnection(f"127.0.0.1:{free_port()}").read("instance/name", 5.0)
    with pytest.raises(ServiceError, match="does not answer"):
        MetadataConnection("127.0.0.1:port").read("instance/name", 5.0)
