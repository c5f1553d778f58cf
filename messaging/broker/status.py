"""How the broker refuses a call: a gRPC status code and the sentence that production sends."""

from __future__ import annotations

from collections.abc import Iterable

import grpc
from google.protobuf.any_pb2 import Any as AnyProto
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from messaging.errors import PortfireError

Metadata = tuple[tuple[str, str | bytes], ...]


class RefusedError(PortfireError):
    """A call that ends with `code` (a ``grpc.StatusCode``) instead of a response."""

    def __init__(self, code: grpc.StatusCode, message: str, trailers: Metadata = ()) -> None:
        super().__init__(message)
        self.code = code
        self.trailers = trailers


def not_found(resource: str) -> RefusedError:
    """No topic or subscription has the full name `resource`."""
    return RefusedError(grpc.StatusCode.NOT_FOUND, f"Resource not found (resource={resource}).")


def already_exists(resource: str) -> RefusedError:
    """The full name `resource` is taken."""
    return RefusedError(
        grpc.StatusCode.ALREADY_EXISTS,
        f"Resource already exists in the project (resource={resource}).",
    )


def invalid(message: str) -> RefusedError:
    """The request itself is wrong, whatever the state of the broker."""
    return RefusedError(grpc.StatusCode.INVALID_ARGUMENT, message)


def unimplemented(feature: str) -> RefusedError:
    """`feature` exists in production only; saying so beats pretending."""
    return RefusedError(
        grpc.StatusCode.UNIMPLEMENTED, f"Portfire's embedded broker does not serve {feature}."
    )


def unavailable() -> RefusedError:
    """The broker is stopping; clients retry this elsewhere or later."""
    return RefusedError(grpc.StatusCode.UNAVAILABLE, "The broker is stopping.")


def stale_ack_ids(ack_ids: Iterable[str]) -> RefusedError:
    """Exactly-once delivery: these ids no longer hold their messages.

    The error info names each id; the client library completes exactly those futures with it.
    """
    message = "Some acknowledgement ids in the request were invalid."
    info = ErrorInfo(
        reason="PERMANENT_FAILURE_INVALID_ACK_ID",
        domain="pubsub.googleapis.com",
        metadata=dict.fromkeys(ack_ids, "PERMANENT_FAILURE_INVALID_ACK_ID"),
    )
    detail = AnyProto()
    detail.Pack(info)
    status = Status(code=9, message=message, details=[detail])
    trailers: Metadata = (("grpc-status-details-bin", status.SerializeToString()),)
    return RefusedError(grpc.StatusCode.FAILED_PRECONDITION, message, trailers)
