"""Checks of what happens with files that are not what they should be."""

from __future__ import annotations

from openmsi_core.testing.checks import check
from openmsi_core.testing.contract.function import FunctionChecks


class HostileChecks(FunctionChecks):
    """The fifth group: each file ends with a result or with `Reject`."""

    def _fair(self, *whats: str) -> None:
        self.good()
        for what, answer in self.in_child().items():
            if not any(each in what for each in whats):
                continue
            assert answer.what != "hung", f"{what}: no end after {self.time_limit:g} s:\n{answer.traceback}"
            assert answer.is_fair, (
                f"{what}: {self.method} gave neither a result nor Reject; {answer.told()}\nA file that is not what it "
                'should be ends with: raise Reject("why"). Anything else is tried three times, and its reader gets a '
                "traceback for a reason"
            )
            assert not answer.printed, f"{what}: {self.method} prints {answer.printed[:200]!r}; use self.log"

    @check("rejects", "hostile input")
    def test_rejects(self) -> None:
        """Each file of ``rejects`` is rejected, with a reason."""
        for name in self.rejects:
            self.place(name)
            self.good()
            answer = self.in_child()[name]
            assert answer.what == "rejected", f"{name} should be rejected: {answer.told()}"
            assert answer.reason.strip(), f'{name} is rejected without a reason: raise Reject("what is wrong with it")'

    @check("empty", "hostile input")
    def test_empty(self) -> None:
        """A file of no bytes."""
        self._fair("empty")

    @check("one-byte", "hostile input")
    def test_one_byte(self) -> None:
        """A file of one byte."""
        self._fair("one byte")

    @check("truncation", "hostile input")
    def test_truncation(self) -> None:
        """The samples, cut at 25, 50 and 75 per cent."""
        self._fair(" cut at ")

    @check("random", "hostile input")
    def test_random(self) -> None:
        """64 KiB of random bytes."""
        self._fair("random")

    @check("encoding", "hostile input")
    def test_encoding(self) -> None:
        """The first sample in UTF-16, and with bytes in it that are no text."""
        self._fair("wrong encoding", "bytes that are no text")

    @check("long-line", "hostile input")
    def test_long_line(self) -> None:
        """A line of a million characters."""
        self._fair("a line of a million characters")
