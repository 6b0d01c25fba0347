"""The processor: the points of a scan, one result each."""

from __future__ import annotations

from collections.abc import Iterator

from openmsi_core import DataFile, PluginOptions, Processor, Reject, Result

from .xrdml import intensities_of, measurement_of, number


class XRDPoints(Processor):
    """Every measured point of a PANalytical .xrdml scan."""

    accepts = ("*.xrdml",)
    sniff = b"xrdMeasurement"

    class Options(PluginOptions):
        """Which points."""

        at_least: float = 0.0
        """Leave out points whose intensity is below this."""

    def process(self, file: DataFile) -> Iterator[Result]:
        """One result for each point: its number, beginning with 0, and its intensity."""
        _, measurement = measurement_of(file)
        for scan in measurement.iterfind("scan"):
            for point, word in enumerate(intensities_of(scan)):
                intensity = number(word)
                if intensity is None:
                    raise Reject(f"point {point} has the intensity {word!r}, which is no number")
                if intensity >= self.options.at_least:
                    yield Result({"point": point, "intensity": intensity})
