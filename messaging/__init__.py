"""The ground floor: wire types, Pub/Sub access, leases, and the embedded broker.

Nothing here knows FireWorks, Docker or storage. Importing the package is cheap; the modules that
need gRPC (``pubsub``, ``broker``) import it themselves.
"""
