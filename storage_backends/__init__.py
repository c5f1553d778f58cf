"""Where jobs' inputs come from and outputs go to: one contract, one file per backend.

Knows nothing of jobs, events or Pub/Sub. `open_backend` is the way in; `contract.StorageBackend`
says what every backend does.
"""

from storage_backends.contract import StorageBackend, Transfer
from storage_backends.registry import backend_names, open_backend

__all__ = ["StorageBackend", "Transfer", "backend_names", "open_backend"]
