"""Storing files as objects in a bucket: verified by the server, in bounded memory, never twice."""

from .sink import S3

__all__ = ["S3"]
