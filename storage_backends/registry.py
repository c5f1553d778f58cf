"""From a backend's name to the backend. Modules are imported when first asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from messaging.errors import UsageError
from storage_backends.contract import StorageBackend

_BACKENDS: Mapping[str, str] = {
    "local": "storage_backends.local:LocalBackend",
    "nfs": "storage_backends.nfs:NfsBackend",
}
#: Other words for the same; hyperflow's README lists SSHFS under ``nfs``.
_ALIASES: Mapping[str, str] = {"sshfs": "nfs"}


def backend_names() -> list[str]:
    """The backends that exist here, without aliases."""
    return sorted(_BACKENDS)


def backend_name(name: str) -> str:
    """The backend's own name for `name` or an alias of it.

    Raises UsageError that lists what there is; cheap, so settings are checked with it at start.
    """
    own = _ALIASES.get(name, name)
    if own not in _BACKENDS:
        raise UsageError(
            f"unknown storage backend {name!r}: this Portfire has {', '.join(backend_names())}"
        )
    return own


def open_backend(name: str, options: Mapping[str, Any]) -> StorageBackend:
    """The backend `name` with `options`. Raises UsageError for a wrong name or option."""
    module, _, attribute = _BACKENDS[backend_name(name)].partition(":")
    backend: type[StorageBackend] = getattr(import_module(module), attribute)
    return backend.open(dict(options))
