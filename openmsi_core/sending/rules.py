"""What a watch goes by: times, patterns, clocks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rules:
    """Seconds that a file must stand still, seconds between scans, and where the watch begins.

    ``new_only``: what is there when this folder is watched for the first time is not sent until it changes.
    ``polling``: the folder lies on a network mount; each file needs two equal looks.
    """

    settle: float = 3.0
    interval: float = 1.0
    new_only: bool = False
    polling: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Clocks:
    """A clock that never jumps and the one that stamps files, both in nanoseconds."""

    steady_ns: Callable[[], int] = time.monotonic_ns
    wall_ns: Callable[[], int] = time.time_ns
