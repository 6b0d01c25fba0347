"""The plainest processor: a result for each line that matters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from openmsi_core import DataFile, PluginOptions, Processor, Reject, Result


class CountLines(Processor):
    """How often each different line occurs in a text, the most frequent first."""

    accepts = ("*.txt", "*.csv", "*.log")
    stability = "stable"
    delivery = "idempotent"

    class Options(PluginOptions):
        """How much is told."""

        most: int = 100
        """How many different lines to tell at most."""
        longest: int = 1000
        """How many characters of a line to tell at most."""

    options: Options

    def process(self, file: DataFile) -> Iterator[Result]:
        """One result for each different line, under the path of the file."""
        text = file.text()
        if "\0" in text:
            raise Reject("there are NUL characters in it: this is no text")
        counted = Counter(line[: self.options.longest] for line in text.splitlines())
        for line, count in counted.most_common(self.options.most):
            yield Result({"line": line, "count": count})
