"""Whom executors answer."""

from __future__ import annotations

import pytest

from executor.reply_topic import reply_topic
from messaging.errors import MessageError


@pytest.mark.parametrize("topic", ["answers", "projects/mine/topics/answers"])
def test_topics_of_the_own_project_are_answered(topic: str) -> None:
    assert reply_topic({"reply_to": topic}, "mine") == topic


@pytest.mark.parametrize("attributes", [{}, {"reply_to": ""}])
def test_nobody_need_be_answered(attributes: dict[str, str]) -> None:
    assert reply_topic(attributes, "mine") is None


@pytest.mark.parametrize(
    "topic",
    [
        "projects/other/topics/answers",
        "projects/mine/topics/a/b",
        "projects/mine/topics/",
        "projects/mine/subscriptions/a",
        "topics/answers",
        "/",
    ],
)
def test_other_topics_are_refused(topic: str) -> None:
    with pytest.raises(MessageError, match=r"reply_to '.*' is refused: expected a topic id"):
        reply_topic({"reply_to": topic}, "mine")
