"""Directories as stores: ``local`` and ``nfs``, and safe ways to read and copy them."""
