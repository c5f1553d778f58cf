"""Storage served by one process to others on the same machine.

`server` has the backends, one pool of transfer threads and the input cache; `client` is a backend
whose calls are carried out there; `records` travel between them, over a UNIX socket.
"""
