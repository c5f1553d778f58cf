"""What engines and registries say of a failed pull, and what that means."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.images.pull import PullRetries
from executor.images.pull_failures import (
    PullOutageError,
    PullRefusedError,
    presentable,
    pull_failure,
)
from executor.images.reference import ImageReference, is_for
from messaging.errors import JobError

IMAGE = ImageReference.parse("registry.example:5000/team/app:1")

REFUSED = [
    "manifest for registry.example:5000/team/app:1 not found: manifest unknown: manifest unknown",
    "manifest unknown",
    "repository registry.example:5000/team/app not found: name unknown: repository not known",
    "pull access denied for team/app, repository does not exist or may require 'docker login'",
    'denied: Permission "artifactregistry.repositories.downloadArtifacts" denied on resource',
    "unauthorized: authentication required",
    'Head "http://registry.example:5000/v2/team/app/manifests/1": no basic auth credentials',
    "Error response from daemon: Get https://x/v2/: unauthorized: incorrect username or password",
    "no matching manifest for linux/arm64/v8 in the manifest list entries",
    "no match for platform in manifest: not found",
    "image with reference app was found but does not match the specified platform: wanted x",
    "invalid reference format: repository name must be lowercase",
    '"nonsense": unknown operating system or architecture: invalid argument',
]
PASSING = [
    "toomanyrequests: You have reached your pull rate limit. You may increase the limit by",
    "denied: Quota exceeded for quota metric 'Requests' of service 'artifactregistry'",
    "unexpected status from HEAD request to https://x/v2/app: 429 Too Many Requests",
    "received unexpected HTTP status: 503 Service Unavailable",
    "received unexpected HTTP status: 500 Internal Server Error",
    "error parsing HTTP 408 response body: unexpected end of JSON input",
    'Get "http://127.0.0.1:9/v2/": dial tcp 127.0.0.1:9: connect: connection refused',
    'Get "https://x.invalid/v2/": dial tcp: lookup x.invalid on 10.0.0.1:53: no such host',
    'Get "https://x/v2/": lookup x: host not found',
    "read tcp 10.0.0.2:37088->10.0.0.3:443: read: connection reset by peer",
    "net/http: request canceled while waiting for connection (Client.Timeout exceeded)",
    "net/http: TLS handshake timeout",
    "unexpected EOF",
    "unknown blob",
    "filesystem layer verification failed for digest sha256:00",
]
HERE = [
    "write /var/lib/docker/tmp/GetImageBlob1: no space left on device",
    'Get "https://x/v2/": x509: certificate signed by unknown authority',
    "http: server gave HTTP response to HTTPS client",
]


@pytest.mark.parametrize("said", REFUSED)
def test_what_no_executor_can_have_is_the_jobs_fault(said: str) -> None:
    assert isinstance(pull_failure(IMAGE, said, status=500), PullRefusedError)


@pytest.mark.parametrize("said", PASSING)
def test_what_passes_is_tried_again(said: str) -> None:
    failure = pull_failure(IMAGE, said, status=500)
    assert isinstance(failure, PullOutageError)
    assert failure.again


@pytest.mark.parametrize("said", HERE)
def test_what_ails_this_executor_is_left_to_others(said: str) -> None:
    failure = pull_failure(IMAGE, said)
    assert isinstance(failure, PullOutageError)
    assert not failure.again


@pytest.mark.parametrize(
    ("status", "kind"), [(400, PullRefusedError), (404, PullRefusedError), (500, PullOutageError)]
)
def test_unknown_words_are_judged_by_the_status(status: int, kind: type[Exception]) -> None:
    assert isinstance(pull_failure(IMAGE, "something new", status=status), kind)


def test_an_images_name_is_no_symptom() -> None:
    named = ImageReference.parse("r.example/access/unauthorized:1")
    said = 'Get "http://r.example/v2/access/unauthorized/manifests/1": connection refused'
    assert isinstance(pull_failure(named, said), PullOutageError)
    short = ImageReference.parse("e:1")
    assert isinstance(pull_failure(short, "manifest unknown"), PullRefusedError)


def test_secrets_in_addresses_are_left_out() -> None:
    said = 'Get "https://me:pw@proxy/blob?X-Signature=abc&t=1": dial\n tcp: timeout'
    assert presentable(said) == 'Get "https://...@proxy/blob?...": dial tcp: timeout'


@given(st.text(max_size=1000))
def test_whatever_is_said_is_one_line_that_names_the_image(said: str) -> None:
    text = str(pull_failure(IMAGE, said))
    assert "\n" not in text
    assert str(IMAGE) in text
    assert len(text) < 700


@pytest.mark.parametrize(
    ("said", "wait"),
    [
        ("toomanyrequests: retry-after: 242.5µs, allowed: 44000/minute", 242.5e-6),
        ("toomanyrequests: retry-after: 12ms", 0.012),
        ("429 Too Many Requests, Retry-After: 7", 7.0),
        ("Too Many Requests; retry after 2m", 120.0),
        ("toomanyrequests", None),
    ],
)
def test_the_wait_that_a_registry_asks_for_is_heard(said: str, wait: float | None) -> None:
    failure = pull_failure(IMAGE, said)
    assert isinstance(failure, PullOutageError)
    assert failure.wait == (None if wait is None else pytest.approx(wait))


def test_waits_grow_stay_bounded_and_are_as_long_as_asked() -> None:
    retries = PullRetries(tries=4, first=1.0, longest=3.0)
    failure = PullOutageError("x")
    for tried, longest in ((1, 1.0), (2, 2.0), (3, 3.0)):
        pause = retries.pause(tried, failure)
        assert pause is not None
        assert longest / 2 <= pause <= longest
    assert retries.pause(4, failure) is None
    assert retries.pause(1, PullOutageError("x", wait=2.5)) == 2.5
    assert retries.pause(1, PullOutageError("x", wait=3.5)) is None
    assert retries.pause(1, PullOutageError("x", again=False)) is None


@pytest.mark.parametrize(
    ("text", "explicit", "registry"),
    [
        ("app", "app:latest", "docker.io"),
        ("app:1", "app:1", "docker.io"),
        ("localhost/app", "localhost/app:latest", "localhost"),
        ("r:5000/app", "r:5000/app:latest", "r:5000"),
        ("r:5000/app@sha256:ab", "r:5000/app@sha256:ab", "r:5000"),
        ("r:5000/app:1@sha256:ab", "r:5000/app:1@sha256:ab", "r:5000"),
    ],
)
def test_a_name_is_always_explicit(text: str, explicit: str, registry: str) -> None:
    reference = ImageReference.parse(text)
    assert str(reference) == explicit
    assert reference.registry == registry
    assert str(ImageReference.parse(explicit)) == explicit


@given(st.text(max_size=60))
def test_any_text_is_a_reference_or_the_jobs_fault(text: str) -> None:
    with contextlib.suppress(JobError):
        assert ImageReference.parse(text).tag_or_digest


@pytest.mark.parametrize(
    ("platform", "fits"),
    [
        (None, True),
        ("linux", True),
        ("arm64", True),
        ("linux/aarch64", True),
        ("linux/arm64/v8", True),
        ("linux/arm64/v9", False),
        ("linux/arm", False),
        ("windows/arm64", False),
        ("x86_64", False),
    ],
)
def test_a_platform_is_compared_as_far_as_it_is_named(platform: str | None, fits: bool) -> None:
    assert is_for({"Os": "linux", "Architecture": "arm64", "Variant": ""}, platform) is fits
    with_variant = {"Os": "linux", "Architecture": "arm64", "Variant": "v8"}
    assert is_for(with_variant, platform) is fits
