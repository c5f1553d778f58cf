"""The conformance suite's part on topics, subscriptions and what they refuse."""

from __future__ import annotations

import pytest
from google.api_core.exceptions import AlreadyExists, InvalidArgument, NotFound

from tests.messaging.differences import differs
from tests.messaging.pubsub import PubsubServer

BAD_IDS = ["ab", "1abc", "goog-abc", "with space", "x" * 256, "slash/ed", "ümlaut"]


class TestTopics:
    def test_a_created_topic_can_be_got_and_listed(self, server: PubsubServer) -> None:
        path = server.topic("abc")
        assert server.publisher.get_topic(topic=path).name == path
        listed = server.publisher.list_topics(project=f"projects/{server.project}")
        assert [topic.name for topic in listed] == [path]

    def test_listing_shows_one_project_only_page_by_page(self, server: PubsubServer) -> None:
        paths = [server.topic(f"topic-{number}") for number in range(5)]
        request = {"project": f"projects/{server.project}", "page_size": 2}
        pages = [list(page.topics) for page in server.publisher.list_topics(request=request).pages]
        assert [len(page) for page in pages] == [2, 2, 1]
        assert [topic.name for page in pages for topic in page] == paths

    def test_a_second_topic_of_a_name_is_refused(self, server: PubsubServer) -> None:
        path = server.topic()
        with pytest.raises(AlreadyExists):
            server.publisher.create_topic(name=path)

    @pytest.mark.parametrize("topic", BAD_IDS)
    def test_a_bad_topic_id_is_refused(self, server: PubsubServer, topic: str) -> None:
        with pytest.raises(InvalidArgument):
            server.topic(topic)

    def test_a_missing_topic_is_not_found(self, server: PubsubServer) -> None:
        missing = server.topic_path("missing")
        with pytest.raises(NotFound):
            server.publisher.get_topic(topic=missing)
        with pytest.raises(NotFound):
            server.publisher.delete_topic(topic=missing)
        with pytest.raises(NotFound):
            server.publish(missing, b"x")
        with pytest.raises(NotFound):
            server.subscription(missing)

    def test_a_deleted_topic_leaves_its_subscriptions_and_their_messages(
        self, server: PubsubServer
    ) -> None:
        topic, subscription = server.pair()
        server.publish(topic, b"last")
        server.publisher.delete_topic(topic=topic)
        settings = server.subscriber.get_subscription(subscription=subscription)
        assert settings.topic == "_deleted-topic_"
        assert server.pull(subscription)[0].message.data == b"last"

    def test_a_topic_lists_its_subscriptions(self, server: PubsubServer) -> None:
        topic, first = server.pair()
        second = server.subscription(topic)
        listed = server.publisher.list_topic_subscriptions(topic=topic)
        assert sorted(listed) == sorted([first, second])

    @differs("update-topic")
    def test_labels_of_a_topic_can_be_changed(self, server: PubsubServer) -> None:
        topic = server.topic()
        server.publisher.update_topic(
            request={
                "topic": {"name": topic, "labels": {"a": "b"}},
                "update_mask": {"paths": ["labels"]},
            }
        )
        assert server.publisher.get_topic(topic=topic).labels == {"a": "b"}


class TestSubscriptions:
    def test_defaults_are_ten_seconds_and_seven_days(self, server: PubsubServer) -> None:
        _, path = server.pair()
        settings = server.subscriber.get_subscription(subscription=path)
        assert settings.ack_deadline_seconds == 10
        assert settings.message_retention_duration.days == 7

    def test_a_created_subscription_is_listed_until_it_is_deleted(
        self, server: PubsubServer
    ) -> None:
        _, path = server.pair()
        project = f"projects/{server.project}"
        assert [s.name for s in server.subscriber.list_subscriptions(project=project)] == [path]
        server.subscriber.delete_subscription(subscription=path)
        assert not list(server.subscriber.list_subscriptions(project=project))

    def test_a_second_subscription_of_a_name_is_refused(self, server: PubsubServer) -> None:
        topic, path = server.pair()
        with pytest.raises(AlreadyExists):
            server.subscriber.create_subscription(name=path, topic=topic)

    @pytest.mark.parametrize("subscription", BAD_IDS)
    def test_a_bad_subscription_id_is_refused(
        self, server: PubsubServer, subscription: str
    ) -> None:
        with pytest.raises(InvalidArgument):
            server.subscriber.create_subscription(
                name=server.subscription_path(subscription), topic=server.topic()
            )

    def test_a_missing_subscription_is_not_found(self, server: PubsubServer) -> None:
        missing = server.subscription_path("missing")
        with pytest.raises(NotFound):
            server.subscriber.get_subscription(subscription=missing)
        with pytest.raises(NotFound):
            server.pull_once(missing)
        with pytest.raises(NotFound):
            server.subscriber.acknowledge(subscription=missing, ack_ids=["x"])
        with pytest.raises(NotFound):
            server.subscriber.delete_subscription(subscription=missing)

    def test_an_ack_deadline_over_600_seconds_is_refused(self, server: PubsubServer) -> None:
        with pytest.raises(InvalidArgument):
            server.pair(ack_deadline_seconds=601)

    @differs("lower-ack-deadline")
    def test_an_ack_deadline_under_10_seconds_is_refused(self, server: PubsubServer) -> None:
        with pytest.raises(InvalidArgument):
            server.pair(ack_deadline_seconds=9)

    def test_a_missing_dead_letter_topic_is_not_found(self, server: PubsubServer) -> None:
        policy = {"dead_letter_topic": server.topic_path("none"), "max_delivery_attempts": 5}
        with pytest.raises(NotFound):
            server.pair(dead_letter_policy=policy)

    @differs("attempts-code")
    def test_fewer_than_five_delivery_attempts_are_refused(self, server: PubsubServer) -> None:
        policy = {"dead_letter_topic": server.topic(), "max_delivery_attempts": 4}
        with pytest.raises(InvalidArgument):
            server.pair(dead_letter_policy=policy)

    @pytest.mark.parametrize(("low", "high"), [(700, 800), (20, 10)])
    def test_a_wrong_retry_policy_is_refused(
        self, server: PubsubServer, low: int, high: int
    ) -> None:
        policy = {"minimum_backoff": {"seconds": low}, "maximum_backoff": {"seconds": high}}
        with pytest.raises(InvalidArgument):
            server.pair(retry_policy=policy)

    def test_settings_change_only_by_the_update_mask(self, server: PubsubServer) -> None:
        _, path = server.pair()
        changed = {"name": path, "ack_deadline_seconds": 30, "filter": "attributes:other"}
        with pytest.raises(InvalidArgument):
            server.subscriber.update_subscription(request={"subscription": changed})
        server.subscriber.update_subscription(
            request={"subscription": changed, "update_mask": {"paths": ["ack_deadline_seconds"]}}
        )
        settings = server.subscriber.get_subscription(subscription=path)
        assert settings.ack_deadline_seconds == 30
        assert settings.filter == ""

    @pytest.mark.parametrize("field", ["filter", "no_such_field"])
    def test_a_filter_or_an_unknown_field_cannot_be_updated(
        self, server: PubsubServer, field: str
    ) -> None:
        _, path = server.pair()
        with pytest.raises(InvalidArgument):
            server.subscriber.update_subscription(
                request={
                    "subscription": {"name": path, "filter": "attributes:a"},
                    "update_mask": {"paths": [field]},
                }
            )
