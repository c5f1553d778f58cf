"""Where a raw job's sender may have its reply: in this project and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping

from messaging.errors import MessageError


def reply_topic(attributes: Mapping[str, str], project: str) -> str | None:
    """The topic in ``reply_to``: an id, or a full name in `project`; None when there is none.

    Raises MessageError for any other: this account may perhaps publish there, the sender not.
    """
    topic = attributes.get("reply_to") or None
    own = f"projects/{project}/topics/"
    if topic and (topic == own or "/" in topic.removeprefix(own)):
        raise MessageError(f"reply_to {topic[:300]!r} is refused: expected a topic id, or {own}ID")
    return topic
