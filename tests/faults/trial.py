"""One trial of one fault: what it may use, and what it reports."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


class Violation(AssertionError):
    """A promise was broken."""


@dataclass(slots=True)
class Trial:
    """What one trial works with. ``chance`` is the only source of randomness, so that ``seed`` repeats the trial.

    ``folder`` is empty at the start; ``broker`` is the address of a real Kafka where the fault asked for one.
    ``mutation`` names a defect that real processes started by this trial must have, or is "".
    """

    seed: int
    folder: Path
    broker: str = ""
    mutation: str = ""
    chance: random.Random = field(init=False)
    hits: Counter[str] = field(default_factory=Counter)
    checks: int = 0
    kills: int = 0
    peak_memory: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    def hit(self, window: str) -> None:
        """The fault struck in this window; a window of the plan that nobody ever hits fails the campaign."""
        self.hits[window] += 1

    def killed(self, window: str) -> None:
        """A process was killed in this window."""
        self.kills += 1
        self.hit(window)

    def check(self, holds: bool, broken: str) -> None:
        """Count one check. Raises Violation with ``broken`` when it does not hold."""
        self.checks += 1
        if not holds:
            raise Violation(broken)

    def equal(self, found: object, wanted: object, about: str) -> None:
        """Check that two values are equal; the difference is told."""
        if isinstance(found, dict) and isinstance(wanted, dict):
            told = {key: (found.get(key), wanted.get(key)) for key in found.keys() | wanted.keys()}
            odd = {key: pair for key, pair in told.items() if pair[0] != pair[1]}
            self.check(not odd, f"{about}: {len(odd)} differ, (found, wanted): {_short(odd)}")
        else:
            self.check(found == wanted, f"{about}: found {_short(found)}, wanted {_short(wanted)}")

    def measured(self, peak_memory: int) -> None:
        """Take note of a process' peak memory, bytes."""
        self.peak_memory = max(self.peak_memory, peak_memory)


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the fault plan.

    ``ci`` and ``release`` say how many trials; ``windows`` are what must have been hit at least once over a whole
    campaign; ``mutations`` are the seeded defects (names of `mutations.MUTATIONS`) that its trials must catch.
    ``serial`` trials are never run beside others; of one that is ``whole`` a tenth is no measure.
    """

    id: str
    title: str
    run: Callable[[Trial], None]
    ci: int
    release: int
    needs_kafka: bool = False
    serial: bool = False
    whole: bool = False
    windows: tuple[str, ...] = ()
    mutations: tuple[str, ...] = ()


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}… ({len(text):,} characters)"
