"""A MongoDB replica set of one server: with an oplog, and so with change streams."""

from __future__ import annotations

import contextlib

import pymongo
from pymongo.errors import PyMongoError

from tests.services.mongodb import MongoAddress, MongoServer
from tests.waiting import wait_until


class ReplicaSet(MongoServer):
    """As `MongoServer`; ready when it can be written to."""

    def start(self) -> MongoAddress:
        """Start the server, make the set the first time, and wait until it has a primary."""
        address = super().start()
        wait_until(self._is_primary, timeout=60.0, what="the replica set's primary")
        return address

    def _command(self) -> list[str]:
        return [*super()._command(), "--replSet", "tests", "--oplogSize", "50"]

    def _answers(self) -> bool:
        """Whether the server is there; a client that looks for a set would not find one yet."""
        with self._client() as client:
            try:
                return bool(client.admin.command("ping"))
            except PyMongoError:
                return False

    def _is_primary(self) -> bool:
        """Whether the set of one can be written to; makes the set the first time."""
        with self._client() as client:
            if client.admin.command("hello").get("isWritablePrimary"):
                return True
            name = f"{self.address.host}:{self.address.port}"
            config = {"_id": "tests", "members": [{"_id": 0, "host": name}]}
            with contextlib.suppress(PyMongoError):  # it is made, and about to vote
                client.admin.command("replSetInitiate", config)
            return False

    def _client(self) -> pymongo.MongoClient[dict[str, object]]:
        return pymongo.MongoClient(
            self.address.uri, serverSelectionTimeoutMS=2000, directConnection=True
        )
