"""Storing files on disk: same tree as the sender's, atomic, durable, never outside the folder."""

from .sink import Disk

__all__ = ["Disk"]
