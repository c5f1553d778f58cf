"""Whatever fsspec has a protocol for."""
