"""The embedded broker: Google Pub/Sub's gRPC API on loopback, in memory, with nothing but pip.

See `messaging.broker.server.Broker`.
"""

from messaging.broker.server import Broker

__all__ = ["Broker"]
