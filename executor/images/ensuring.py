"""Having the image of a container: by policy, and pulled by one slot for all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import docker
from docker.errors import ImageNotFound

from executor.containers.engine import engine_errors
from executor.containers.finding import engine_address
from executor.context import JobContext
from executor.images.pull import PullRetries, pull_image
from executor.images.pull_turns import pull_turn
from executor.images.reference import ImageReference, is_for, platform_of
from messaging.errors import JobError, ServiceError

#: When the registry is asked: each time, if the engine lacks the image, or not at all.
PullPolicy = Literal["always", "if-not-present", "never"]


def checked_pull_policy(value: object) -> PullPolicy:
    """`value`, if it is a pull policy. Raises JobError."""
    for policy in get_args(PullPolicy):
        if value == policy:
            found: PullPolicy = policy
            return found
    raise JobError(f"pull policy is {value!r}: expected one of {', '.join(get_args(PullPolicy))}")


def ensure_image(
    client: docker.APIClient,
    image: str,
    *,
    context: JobContext,
    policy: PullPolicy = "if-not-present",
    platform: str | None = None,
    shared_directory: Path | None = None,
    retries: PullRetries | None = None,
) -> str:
    """The id of `image`, pulled first if `policy` wants it.

    Without a tag or digest it is ``:latest``. An image for another platform than `platform` counts
    as not there. However many ask at once, in threads or processes that have `shared_directory` in
    common (None: all of this user's), one pulls; for ``always``, a pull that began after this call
    counts. Blocks for minutes; an exception from a signal handler ends it. `client` is this
    thread's own. Raises JobError when the image cannot be had by anybody, ServiceError when it
    could not be had here and now.
    """
    reference = ImageReference.parse(image)
    ask = policy == "always" and not reference.is_id
    found = None if ask else _present(client, reference, platform)
    if found is not None:
        return found
    if policy == "never" or reference.is_id:
        raise JobError(_absent(reference, policy, platform))
    with pull_turn(shared_directory, f"{engine_address()} {reference}") as turn:
        found = None if ask else _present(client, reference, platform)
        if found is not None:
            return found
        with turn.pulling(platform) as needed:
            if needed:
                pull_image(
                    client,
                    reference,
                    platform=platform,
                    context=context,
                    retries=retries or PullRetries(),
                )
            return _pulled(client, reference, platform)


def _present(
    client: docker.APIClient, reference: ImageReference, platform: str | None
) -> str | None:
    """The image's id, if the engine has it for `platform`."""
    details = _details(client, reference)
    return str(details["Id"]) if details is not None and is_for(details, platform) else None


def _pulled(client: docker.APIClient, reference: ImageReference, platform: str | None) -> str:
    """The id of an image that was just pulled."""
    details = _details(client, reference)
    if details is None:
        raise ServiceError(f"image '{reference}' was pulled, but the engine does not have it")
    if not is_for(details, platform):
        # An image with one build only is pulled whatever platform was asked for.
        raise JobError(
            f"image '{reference}' is for {platform_of(details)}, not for {platform}: "
            "push a build for that platform, or name another platform"
        )
    return str(details["Id"])


def _details(client: docker.APIClient, reference: ImageReference) -> Mapping[str, Any] | None:
    with engine_errors(f"looking for image '{reference}'"):
        try:
            # An id is asked for as it is. The stubs have no types here.
            details: Mapping[str, Any] = client.inspect_image(str(reference))  # type: ignore[no-untyped-call]
        except ImageNotFound:
            return None
    return details


def _absent(reference: ImageReference, policy: str, platform: str | None) -> str:
    built = f" for {platform}" if platform else ""
    what = f"image '{reference}'{built} is not on this executor"
    if reference.is_id:
        return f"{what}, and an id cannot be pulled: name it name:tag or name@sha256:..."
    return f"{what}, and pull policy {policy!r} forbids to pull it: load it there beforehand"
