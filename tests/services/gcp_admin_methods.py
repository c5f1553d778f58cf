"""The methods of the fake administrative APIs, and the project that they are about."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping
from typing import Any

Resource = dict[str, Any]
At = Mapping[str, str]
Query = Mapping[str, list[str]]

PROJECT, NUMBER = "my-project", "123456"
AGENT = f"service-{NUMBER}@gcp-sa-pubsub.iam.gserviceaccount.com"
_STATUS = {400: "INVALID_ARGUMENT", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 409: "ABORTED"}
#: Google's own roles, as far as they matter here.
_ROLES = {
    "roles/pubsub.editor": [
        "pubsub.subscriptions.consume",
        "pubsub.subscriptions.create",
        "pubsub.subscriptions.delete",
        "pubsub.subscriptions.get",
        "pubsub.topics.attachSubscription",
        "pubsub.topics.publish",
    ],
    "roles/logging.logWriter": ["logging.logEntries.create"],
    "roles/compute.instanceAdmin.v1": ["compute.instances.delete"],
    "roles/storage.objectAdmin": [
        "storage.objects.create",
        "storage.objects.delete",
        "storage.objects.get",
        "storage.objects.list",
    ],
}


class RefusedError(Exception):
    """What an API answers with an error."""

    def __init__(self, status: int, message: str, reason: str = "", **metadata: str) -> None:
        super().__init__(message)
        self.status = status
        self.info = {"reason": reason, "domain": "googleapis.com", "metadata": metadata}

    def body(self) -> Resource:
        """In the APIs' form."""
        kind = "type.googleapis.com/google.rpc.ErrorInfo"
        details = [{"@type": kind, **self.info}] if self.info["reason"] else []
        state = _STATUS.get(self.status, "UNAVAILABLE")
        error = {"code": self.status, "message": str(self), "status": state, "details": details}
        return {"error": error}


class AdminMethods:
    """One project. Each method answers with JSON or raises RefusedError."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.enabled: set[str] = set()
        self.accounts: dict[str, Resource] = {}
        self.roles: dict[str, Resource] = {
            name: {"name": name, "includedPermissions": list(held)} for name, held in _ROLES.items()
        }
        #: By resource's path.
        self.policies: dict[str, Resource] = {}
        self.buckets: dict[str, Resource] = {}
        #: Names of buckets that others have.
        self.foreign_buckets: set[str] = set()
        #: Permissions that whoever asks does not have.
        self.lacking: set[str] = set()
        #: How often somebody else changes a policy between our reading and our writing.
        self.conflicts = 0
        #: How often a new account is not known yet to policies.
        self.unknown_for = 0
        #: Answers until an operation is done.
        self.operation_answers = 2
        self._operations: dict[str, list[Any]] = {}

    def members(self, resource: str, role: str) -> list[str]:
        """Who has a role there."""
        for binding in self.policies.get(resource, {}).get("bindings", []):
            if binding["role"] == role:
                return list(binding["members"])
        return []

    def token(self, _at: At, _query: Query, _body: Resource) -> Resource:
        return {"access_token": "token", "expires_in": 3599, "token_type": "Bearer"}

    def project(self, at: At, _query: Query, _body: Resource) -> Resource:
        self._in_project(at)
        return {"projectId": PROJECT, "projectNumber": NUMBER, "lifecycleState": "ACTIVE"}

    def get_policy(self, at: At, _query: Query, _body: Resource) -> Resource:
        self._in_project(at)
        return self.policies.setdefault(at["resource"], {"etag": "first", "version": 1})

    def set_policy(self, at: At, _query: Query, body: Resource) -> Resource:
        self._in_project(at)
        policy, known = body["policy"], self.get_policy(at, {}, {})
        if self.conflicts:
            self.conflicts -= 1
            known["etag"] = uuid.uuid4().hex
        if policy.get("etag") != known["etag"]:
            raise RefusedError(409, "There were concurrent policy changes. Please retry.")
        for binding in policy.get("bindings", []):
            for member in binding["members"]:
                self._known(member)
        self.policies[at["resource"]] = {**policy, "etag": uuid.uuid4().hex}
        return self.policies[at["resource"]]

    def _known(self, member: str) -> None:
        kind, _, email = member.partition(":")
        if kind != "serviceAccount" or email == AGENT:
            return
        if self.unknown_for or email not in self.accounts:
            self.unknown_for = max(0, self.unknown_for - 1)
            raise RefusedError(400, f"Service account {email} does not exist.")

    def granted_permissions(self, at: At, _query: Query, body: Resource) -> Resource:
        if at["project"] != "-":
            self._in_project(at)
        return {"permissions": [it for it in body["permissions"] if it not in self.lacking]}

    def services(self, at: At, query: Query, _body: Resource) -> Resource:
        self._in_project(at)
        states = {
            name: "ENABLED" if name.rpartition("/")[2] in self.enabled else "DISABLED"
            for name in query["names"]
        }
        number = f"projects/{NUMBER}"  # the real one answers with the number, too
        return {
            "services": [
                {"name": name.replace(f"projects/{PROJECT}", number), "state": state}
                for name, state in states.items()
            ]
        }

    def enable(self, at: At, _query: Query, body: Resource) -> Resource:
        self._in_project(at)
        name = f"acf.{uuid.uuid4().hex}"
        self._operations[name] = [self.operation_answers, body["serviceIds"]]
        return {"name": f"operations/{name}"}

    def operation(self, at: At, _query: Query, _body: Resource) -> Resource:
        operation = self._operations[at["operation"]]
        operation[0] -= 1
        if operation[0] <= 0:
            self.enabled.update(operation[1])
        return {"name": f"operations/{at['operation']}", "done": operation[0] <= 0}

    def make_account(self, at: At, _query: Query, body: Resource) -> Resource:
        self._in_project(at)
        email = f"{body['accountId']}@{PROJECT}.iam.gserviceaccount.com"
        if email in self.accounts:
            raise RefusedError(409, f"Service account {body['accountId']} already exists.")
        self.accounts[email] = {**body.get("serviceAccount", {}), "email": email}
        return self.accounts[email]

    def account(self, at: At, _query: Query, _body: Resource) -> Resource:
        if at["account"] not in self.accounts:
            raise RefusedError(404, f"Unknown service account: {at['account']}")
        return self.accounts[at["account"]]

    def make_role(self, at: At, _query: Query, body: Resource) -> Resource:
        self._in_project(at)
        name = f"projects/{PROJECT}/roles/{body['roleId']}"
        if name in self.roles:
            raise RefusedError(409, f"A role named {body['roleId']} already exists.")
        self.roles[name] = {**body["role"], "name": name}
        return self.roles[name]

    def role(self, at: At, _query: Query, _body: Resource) -> Resource:
        if at["role"] not in self.roles:
            raise RefusedError(404, f"The role named {at['role']} was not found.")
        return self.roles[at["role"]]

    def patch_role(self, at: At, query: Query, body: Resource) -> Resource:
        role = self.role(at, query, body)
        role.update({field: body[field] for field in query["updateMask"][0].split(",")})
        return role

    def undelete_role(self, at: At, query: Query, body: Resource) -> Resource:
        role = self.role(at, query, body)
        role.pop("deleted", None)
        return role

    def make_bucket(self, _at: At, query: Query, body: Resource) -> Resource:
        if query["project"] != [PROJECT]:
            raise RefusedError(404, "The requested project was not found.")
        name = body["name"]
        if name in self.buckets or name in self.foreign_buckets:
            raise RefusedError(409, "The requested bucket name is not available.")
        location = body.get("location", "US").upper()
        self.buckets[name] = {**body, "location": location, "iam": {"etag": "first"}}
        return self._shown(name)

    def bucket(self, at: At, _query: Query, _body: Resource) -> Resource:
        if at["bucket"] in self.foreign_buckets:
            raise RefusedError(403, "You do not have storage.buckets.get access to the bucket.")
        if at["bucket"] not in self.buckets:
            raise RefusedError(404, "The specified bucket does not exist.")
        return self._shown(at["bucket"])

    def bucket_policy(self, at: At, query: Query, body: Resource) -> Resource:
        self.bucket(at, query, body)
        policy: Resource = self.buckets[at["bucket"]]["iam"]
        return policy

    def set_bucket_policy(self, at: At, query: Query, body: Resource) -> Resource:
        if body.get("etag") != self.bucket_policy(at, query, {})["etag"]:
            raise RefusedError(412, "At least one of the pre-conditions did not hold.")
        self.buckets[at["bucket"]]["iam"] = {**body, "etag": uuid.uuid4().hex}
        return self.bucket_policy(at, query, {})

    def _shown(self, name: str) -> Resource:
        return {key: value for key, value in self.buckets[name].items() if key != "iam"}

    def _in_project(self, at: At) -> None:
        if at["project"] != PROJECT:
            raise RefusedError(403, f"Permission denied on resource project {at['project']}.")
