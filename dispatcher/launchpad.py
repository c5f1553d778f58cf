"""Opening a LaunchPad as FireWorks does, and errors of its database that say what to do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymongo
from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    OperationFailure,
    PyMongoError,
)

from messaging.errors import PortfireError, ServiceError, UsageError

#: How long a LaunchPad may take to answer the first question, in seconds.
_CONNECT_SECONDS = 5.0
#: Unless the LaunchPad file says otherwise: what MongoDB has confirmed, it has on disk. A MongoDB
#: that is killed loses what it wrote in its last tenth of a second; whoever then goes on with the
#: next write of several leaves nonsense, and what Pub/Sub was told is done would not be.
_CERTAIN = {"journal": True}
#: And how soon pymongo notices that MongoDB is away, in milliseconds. On a connection of its own
#: it asks for a sign of life: a network that drops packets is found out by the first two together,
#: 6 s, and whatever hangs is cut off then; by itself no operation has a limit, since on a large
#: LaunchPad some take minutes. The last is for operations that are begun while it is away.
_NOTICE = {
    "heartbeatFrequencyMS": 2000,
    "connectTimeoutMS": 4000,
    "serverSelectionTimeoutMS": 3000,
}
_SETTINGS: dict[str, Any] = {**_CERTAIN, **_NOTICE}
#: MongoDB's error codes for documents: BadValue, DollarPrefixedFieldName, DottedFieldName,
#: BSONObjectTooLarge, and two for documents that an update would make too large.
_DOCUMENT_CODES = frozenset({2, 52, 57, 10334, 17419, 17420})
#: Unauthorized, AuthenticationFailed, and Atlas' word for the latter.
_FORBIDDEN_CODES = frozenset({13, 18, 8000})


def find_launchpad_file(given: Path | None) -> Path | None:
    """The LaunchPad file to use: the given one, else where FireWorks looks for one, else None."""
    if given is not None:
        if not given.is_file():
            raise UsageError(f"there is no LaunchPad file {given}: `lpad init` writes one")
        return given
    from fireworks.fw_config import LAUNCHPAD_LOC

    return Path(LAUNCHPAD_LOC) if LAUNCHPAD_LOC else None


def use_embedded_launchpad(file: Path) -> None:
    """Make FireWorks keep its database in `file` (mongomock), in this process from now on.

    Must be called before FireWorks is imported: FireWorks decides at import which client it uses.
    Raises UsageError when the packages for it are missing.
    """
    try:
        import mongomock_persistence  # noqa: F401 - only to see whether it is there
    except ImportError as exc:
        raise UsageError(
            "there is no my_launchpad.yaml and the embedded LaunchPad is not installed: "
            "name a LaunchPad with -l, or `pip install 'portfire[local]'`"
        ) from exc
    os.environ["MONGOMOCK_SERVERSTORE_FILE"] = str(file.resolve())


def open_launchpad(file: Path | None) -> Any:
    """A connected FireWorks LaunchPad; without `file` the one that FireWorks' defaults give.

    Raises UsageError for a broken file, PortfireError when the database does not answer.
    """
    from fireworks import LaunchPad

    try:
        # What FireWorks has to say about each workflow is the dispatcher's to say.
        launchpad = LaunchPad.from_file(str(file)) if file else LaunchPad(strm_lvl="ERROR")
        if not is_embedded(launchpad):
            launchpad = _careful(launchpad)
    except KeyError as exc:
        raise UsageError(
            f"LaunchPad file {file} cannot be used: it has no {exc.args[0]!r} (the embedded "
            "LaunchPad is for `portfire run` only)"
        ) from exc
    except Exception as exc:  # whatever a wrong file makes FireWorks raise
        raise UsageError(f"LaunchPad file {file} cannot be used: {_first_line(exc)}") from exc
    _check_connection(launchpad)
    return launchpad


def load_fworker(file: Path | None) -> Any:
    """The FWorker from `file`, else from where FireWorks looks for one, else FireWorks' default."""
    from fireworks import FWorker

    try:
        return FWorker.from_file(str(file)) if file else FWorker.auto_load()
    except Exception as exc:  # whatever a wrong file makes FireWorks raise
        raise UsageError(f"FWorker file {file} cannot be used: {_first_line(exc)}") from exc


def is_embedded(launchpad: Any) -> bool:
    """Whether this LaunchPad's database is mongomock rather than MongoDB."""
    return type(launchpad.connection).__module__.startswith("mongomock")


def is_away(launchpad: Any) -> bool:
    """Whether MongoDB has not given a sign of life lately; asks nobody."""
    return not is_embedded(launchpad) and not launchpad.connection.nodes


def where(launchpad: Any) -> str:
    """Address and database name, without any credentials."""
    if is_embedded(launchpad):
        return f"embedded ({os.environ.get('MONGOMOCK_SERVERSTORE_FILE', 'in memory')})"
    if launchpad.uri_mode:
        nodes = ",".join(f"{host}:{port}" for host, port in launchpad.connection.nodes)
        return f"{nodes or 'the given URI'}/{launchpad.name}"
    return f"{launchpad.host}:{launchpad.port}/{launchpad.name}"


def refuses_document(error: Exception) -> bool:
    """Whether MongoDB (or BSON) cannot take what was to be written: trying again is in vain."""
    if isinstance(error, BulkWriteError):
        codes = {item.get("code") for item in (error.details or {}).get("writeErrors", [])}
        return bool(codes & _DOCUMENT_CODES)
    if isinstance(error, OperationFailure):
        return error.code in _DOCUMENT_CODES
    return not isinstance(error, (PyMongoError, PortfireError))


@contextmanager
def database_errors(action: str) -> Iterator[None]:
    """Turn pymongo's errors into ours: not allowed → UsageError, all else → ServiceError.

    MongoDB has dozens of codes for what passes (a failover, a full disk, a cursor that timed out):
    only what a person must change is for good.
    """
    try:
        yield
    except ConnectionFailure as exc:
        raise ServiceError(f"cannot {action}: the LaunchPad's MongoDB is away") from exc
    except PyMongoError as exc:
        if isinstance(exc, ConfigurationError) or _is_forbidden(exc):
            raise UsageError(f"the LaunchPad's MongoDB refuses to {action}: {exc}") from exc
        raise ServiceError(f"cannot {action}: {_first_line(exc)}") from exc


def _is_forbidden(error: PyMongoError) -> bool:
    return isinstance(error, OperationFailure) and error.code in _FORBIDDEN_CODES


def _careful(launchpad: Any) -> Any:
    """The same LaunchPad by a client that notices soon when MongoDB is away, and writes safely."""
    launchpad.connection.close()
    uri = str(launchpad.host).lower() if launchpad.uri_mode else ""
    given = {name: value for name, value in _SETTINGS.items() if f"{name.lower()}=" not in uri}
    kwargs = {**given, **launchpad.mongoclient_kwargs}
    return type(launchpad).from_dict({**launchpad.to_dict(), "mongoclient_kwargs": kwargs})


def _check_connection(launchpad: Any) -> None:
    try:
        with pymongo.timeout(_CONNECT_SECONDS), database_errors("connect"):
            initialised = launchpad.fw_id_assigner.find_one({})
    except ServiceError as exc:
        raise PortfireError(
            f"cannot reach the LaunchPad at {where(launchpad)}: is MongoDB running there, and are "
            "host, port and credentials in my_launchpad.yaml right?"
        ) from exc
    if initialised is None:
        if not is_embedded(launchpad):
            raise UsageError(
                f"the LaunchPad at {where(launchpad)} is empty and not set up: run `lpad reset`"
            )
        launchpad.reset("", require_password=False)


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]
