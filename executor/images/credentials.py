"""Who this executor is to an image registry. Secrets are returned, and appear nowhere else."""

from __future__ import annotations

import logging
import os
import re
import shutil

from docker.auth import AuthConfig, load_config
from docker.errors import DockerException

from messaging.errors import UsageError

logger = logging.getLogger(__name__)

#: What a registry is told; empty for nobody in particular.
Credentials = dict[str, str]

_GOOGLE = re.compile(r"(?:[a-z0-9-]+\.)?gcr\.io|[a-z0-9-]+-docker\.pkg\.dev")


def registry_credentials(registry: str) -> Credentials:
    """Credentials for `registry` (host and port), as the engine takes them; ``{}`` is nobody.

    Asked anew each time, since tokens expire. The Docker config's login or helper for this
    registry comes first (``DOCKER_CONFIG``, else ``~/.docker/config.json``), then for Google's
    registries the access token of the VM's service account. A source that fails is a warning, and
    the next one is asked. Thread-safe; blocks for a helper program or the metadata server.
    """
    return _configured(registry) or _service_account(registry) or {}


def _configured(registry: str) -> Credentials | None:
    try:
        config = load_config()
    except (DockerException, ValueError, TypeError, AttributeError) as exc:
        # Only the kind of error: its text may quote the file.
        logger.warning("the Docker config cannot be read: %s; mend its auths", type(exc).__name__)
        return None
    try:
        _check_helper(config, registry)
        return config.resolve_authconfig(registry) or None
    except (UsageError, DockerException, ValueError, KeyError) as exc:
        why = str(exc) if isinstance(exc, UsageError) else "its credential helper failed"
        logger.warning("no credentials for %s from the Docker config: %s", registry, why)
    # What stands in the file itself needs no helper.
    return AuthConfig({"auths": config.auths}).resolve_authconfig(registry) or None


def _check_helper(config: AuthConfig, registry: str) -> None:
    """Raises UsageError when the program that is to know the credentials is not installed."""
    helper = config.get_credential_store(registry)
    program = f"docker-credential-{helper}"
    if helper and shutil.which(program) is None:
        raise UsageError(f"{program} is not installed: install it or take it out of the config")


def _service_account(registry: str) -> Credentials | None:
    """The login with the VM's access token; None for others' registries and outside of GCE."""
    if not _GOOGLE.fullmatch(registry):
        return None
    # Loaded only by who needs it: it takes a while.
    from google.auth.compute_engine import Credentials as MetadataCredentials
    from google.auth.compute_engine import detect_gce_residency_linux
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import Request

    if not os.environ.get("GCE_METADATA_HOST") and not detect_gce_residency_linux():
        return None
    source = MetadataCredentials()
    try:
        source.refresh(Request())
    except GoogleAuthError as exc:
        logger.warning(
            "no access token for %s from the metadata server: %s", registry, type(exc).__name__
        )
        return None
    return {"username": "oauth2accesstoken", "password": str(source.token)}
