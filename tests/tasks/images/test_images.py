"""Images from a real registry into a real Docker Engine: policies, names, credentials, failures."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from executor.images import pull as image_pull
from executor.images.ensuring import PullPolicy, checked_pull_policy, ensure_image
from executor.images.pull import PullRetries
from messaging.errors import JobError, JobInterrupted, PortfireError, ServiceError
from tests.services.registry import PASSWORD, USER, Registries, start_registry
from tests.tasks.conftest import RecordingContext
from tests.tasks.images.conftest import Configure, login
from tests.tasks.images.published import PublishedImage
from tests.tasks.images.registry_proxy import Answer, RegistryProxy
from tests.waiting import wait_until

Ensure = Callable[..., str]

#: Tries that take no time.
_QUICK = PullRetries(tries=3, first=0.01, longest=0.05)


@pytest.fixture
def ensure(image: PublishedImage, context: RecordingContext, tmp_path: Path) -> Ensure:
    """`ensure_image` on the engine, by default of the test's own image, with quick retries."""

    def call(name: str = image.name, **options: Any) -> str:
        settings = {"shared_directory": tmp_path / "turns", "retries": _QUICK, **options}
        return ensure_image(image.client, name, context=context, **settings)

    return call


def failure(ensure: Ensure, name: str, **options: Any) -> PortfireError:
    with pytest.raises((JobError, ServiceError)) as caught:
        ensure(name, **options)
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_missing_image_is_pulled_and_its_progress_told(
    ensure: Ensure, image: PublishedImage, context: RecordingContext
) -> None:
    assert ensure() == image.id
    assert context.types == ["image-pull.started", "image-pull.finished"]
    assert context.fields("image-pull.started") == {"image": image.name}
    told = context.fields("image-pull.finished")
    assert told["layers"] == 1
    assert told["bytes"] == told["total"] > image.size
    assert told["time"] > 0
    assert told["error"] is None
    assert ensure() == image.id
    assert len(context.events) == 2


def test_a_name_without_a_tag_means_latest(ensure: Ensure, image: PublishedImage) -> None:
    image.tag("latest")
    assert ensure(image.repository) == image.id
    assert "'portfire-nowhere:latest'" in str(failure(ensure, "portfire-nowhere", policy="never"))


def test_a_digest_is_kept(ensure: Ensure, image: PublishedImage, context: RecordingContext) -> None:
    digest = image.digest
    assert ensure(f"{image.repository}@{digest}") == image.id
    assert context.fields("image-pull.started")["image"] == f"{image.repository}@{digest}"
    # The digest decides, whatever tag stands before it.
    assert ensure(f"{image.repository}:other@{digest}") == image.id
    assert len(context.events) == 2


def test_an_id_is_looked_up_and_never_pulled(ensure: Ensure, image: PublishedImage) -> None:
    assert ensure() == image.id
    policies: list[PullPolicy] = ["always", "if-not-present", "never"]
    for policy in policies:
        assert ensure(image.id, policy=policy) == image.id
        error = failure(ensure, f"sha256:{'0' * 64}", policy=policy)
        assert isinstance(error, JobError)
        assert "an id cannot be pulled" in str(error)


def test_only_always_asks_for_a_newer_image(ensure: Ensure, image: PublishedImage) -> None:
    first = ensure()
    image.replace()
    assert ensure() == ensure(policy="never") == first
    assert ensure(policy="always") == image.id != first


def test_never_says_that_the_image_is_not_there(
    ensure: Ensure, image: PublishedImage, context: RecordingContext
) -> None:
    error = failure(ensure, image.name, policy="never")
    assert isinstance(error, JobError)
    assert f"image '{image.name}' is not on this executor" in str(error)
    assert "'never'" in str(error)
    assert context.events == []


def test_a_wrong_pull_policy_is_named() -> None:
    assert checked_pull_policy("always") == "always"
    for wrong in ("Always", None, 3, ["never"]):
        with pytest.raises(JobError, match="expected one of always, if-not-present, never"):
            checked_pull_policy(wrong)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("{repository}:none", "there is no such image"),
        ("{registry}/nobody/nothing:7", "there is no such image"),
        ("{repository}@sha256:" + "0" * 64, "there is no such image"),
        ("{repository}@sha256:00", "invalid reference format"),
        ("{registry}/UPPER:1", "must be lowercase"),
        ("a b:1", "expected name:tag"),
        ("a:", "expected name:tag"),
        ("http://a/b:1", "expected name:tag"),
    ],
)
def test_an_image_that_cannot_be_is_the_jobs_fault(
    ensure: Ensure,
    image: PublishedImage,
    image_registries: Registries,
    context: RecordingContext,
    name: str,
    said: str,
) -> None:
    names = {"repository": image.repository, "registry": image_registries.open}
    error = failure(ensure, name.format(**names))
    assert isinstance(error, JobError)
    assert said in str(error)
    if context.events:
        assert context.types == ["image-pull.started", "image-pull.finished"]
        assert context.fields("image-pull.finished")["error"] == str(error)


def test_a_wrong_platform_is_the_jobs_fault(ensure: Ensure, image: PublishedImage) -> None:
    image.tag_list("multi")
    error = failure(ensure, f"{image.repository}:multi", platform="linux/arm64")
    assert isinstance(error, JobError)
    assert "no matching manifest for linux/arm64" in str(error)
    assert "name another platform" in str(error)
    assert ensure(f"{image.repository}:multi", platform=image.platform) == image.id
    # One build only: the engine pulls it whatever was asked for.
    error = failure(ensure, image.name, platform="linux/s390x")
    assert isinstance(error, JobError)
    assert f"is for {image.platform}, not for linux/s390x" in str(error)
    assert "linux/s390x is not" in str(
        failure(ensure, image.name, platform="linux/s390x", policy="never")
    )


def test_a_registry_with_a_password_takes_the_configs_login(
    ensure: Ensure, image: PublishedImage, image_registries: Registries, configure: Configure
) -> None:
    configure(auths={image_registries.locked: login(USER, PASSWORD)})
    assert ensure(image.at(image_registries.locked)) == image.id


@pytest.mark.parametrize("password", [None, "let-me-in"])
def test_without_the_right_password_it_is_the_jobs_fault_and_nothing_tells_the_wrong_one(
    ensure: Ensure,
    image: PublishedImage,
    image_registries: Registries,
    context: RecordingContext,
    configure: Configure,
    caplog: pytest.LogCaptureFixture,
    password: str | None,
) -> None:
    caplog.set_level(logging.DEBUG)
    entry = login(USER, password or "")
    if password is not None:
        configure(auths={image_registries.locked: entry})
    error = failure(ensure, image.at(image_registries.locked))
    assert isinstance(error, JobError)
    assert "docker login" in str(error)
    told = f"{error}{context.events}{caplog.text}"
    assert "let-me-in" not in told
    assert entry["auth"] not in told


def test_a_registry_that_is_away_is_the_infrastructures_fault(
    ensure: Ensure, image: PublishedImage, context: RecordingContext
) -> None:
    with start_registry() as registry:
        away = PublishedImage(image.client, registry.address)
        registry.stop()
        error = failure(ensure, away.name)
        assert isinstance(error, ServiceError)
        assert "connection refused" in str(error)
        assert context.types == ["image-pull.started", "image-pull.finished"]
        registry.start()
        assert ensure(away.name) == away.id
        away.remove()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer.error(429, "TOOMANYREQUESTS", "You have reached your limit"), "limits pulls"),
        (Answer(503, b"sorry"), "out of order"),
        (Answer.error(502, "UNAVAILABLE", "sorry"), "out of order"),
        (Answer(418, b"tea"), "check the registry"),
    ],
)
def test_what_passes_is_tried_again_within_a_bound(
    ensure: Ensure, image: PublishedImage, proxy: RegistryProxy, answer: Answer, said: str
) -> None:
    pings: list[str] = []

    def fault(_method: str, path: str) -> Answer | None:
        pings.extend([path] if path == "/v2/" else [])
        return answer if "/manifests/" in path and len(pings) <= faulty else None

    proxy.fault = fault
    name = image.at(proxy.address)
    faulty = 3
    error = failure(ensure, name)
    assert isinstance(error, ServiceError)
    assert said in str(error)
    assert len(pings) == 3
    faulty = 5
    assert ensure(name) == image.id
    assert len(pings) == 6


def test_who_is_asked_to_wait_for_long_gives_up_at_once(
    ensure: Ensure, image: PublishedImage, proxy: RegistryProxy
) -> None:
    answer = Answer.error(429, "TOOMANYREQUESTS", "retry-after: 12.5s, allowed: 44000/minute")
    proxy.fault = lambda _method, path: answer if "/manifests/" in path else None
    assert isinstance(failure(ensure, image.at(proxy.address)), ServiceError)
    assert proxy.asked.count("/v2/") == 1


def test_a_failure_in_the_middle_of_the_answer_is_seen(
    ensure: Ensure, image: PublishedImage, proxy: RegistryProxy, context: RecordingContext
) -> None:
    broken = Answer(200, b"x" * 100)
    blobs: list[str] = []

    def fault(_method: str, path: str) -> Answer | None:
        blobs.extend([path] if "/blobs/" in path and path.endswith(image.layer) else [])
        return broken if path.endswith(image.layer) and len(blobs) == 1 else None

    proxy.fault = fault
    assert ensure(image.at(proxy.address)) == image.id
    assert len(blobs) == 2
    assert context.types == ["image-pull.started", "image-pull.finished"]


def test_a_registry_that_falls_silent_is_given_up(
    ensure: Ensure, image: PublishedImage, proxy: RegistryProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_pull, "SILENCE", 0.2)
    proxy.gate.clear()
    error = failure(ensure, image.at(proxy.address))
    assert isinstance(error, ServiceError)
    assert "not a word of it for 0.2 s" in str(error)


def test_an_interruption_ends_a_pull(
    ensure: Ensure, image: PublishedImage, proxy: RegistryProxy, context: RecordingContext
) -> None:
    def interrupt(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's signature
        raise JobInterrupted("the job was stopped")

    def send() -> None:
        wait_until(lambda: any("/manifests/" in path for path in proxy.asked), what="the pull")
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    name = image.at(proxy.address)
    proxy.gate.clear()
    previous = signal.signal(signal.SIGTERM, interrupt)
    sender = threading.Thread(target=send)
    sender.start()
    try:
        with pytest.raises(JobInterrupted):
            ensure(name)
    finally:
        sender.join()
        signal.signal(signal.SIGTERM, previous)
    assert context.fields("image-pull.finished")["error"] == "the job was stopped"
    proxy.gate.set()
    assert ensure(name) == image.id
