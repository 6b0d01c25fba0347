"""The extractor: an .xrdml header, whatever version of the format it is (XRDMeasurement 1.0 to 2.4)."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from openmsi_core import DataFile, Extractor, PluginOptions, Reject

from .xrdml import attribute, intensities_of, measurement_of, number, quantity, text


class XRDExtractor(Extractor):
    """Metadata from the header of a PANalytical .xrdml scan."""

    accepts = ("*.xrdml",)
    sniff = b"xrdMeasurement"

    class Options(PluginOptions):
        """What counts as a scan."""

        keep_empty: bool = False
        """Keep measurements without a single scan instead of rejecting them."""

    def extract(self, file: DataFile) -> dict[str, Any]:
        """Sample, instrument, tube, wavelengths; axis, ranges, step and counting time of the first scan."""
        root, measurement = measurement_of(file)
        scans = measurement.findall("scan")
        if not scans and not self.options.keep_empty:
            raise Reject("no scan in the measurement; --keep-empty keeps such files")
        return {
            "status": measurement.get("status"),
            "measurement_type": measurement.get("measurementType"),
            "step_axis": measurement.get("measurementStepAxis"),
            "sample": {name: text(root, f"sample/{name}") for name in ("id", "name", "preparedBy")},
            "comment": [entry.text.strip() for entry in root.iterfind("comment/entry") if entry.text],
            "anode": text(measurement, "incidentBeamPath/xRayTube/anodeMaterial"),
            "tension": quantity(measurement, "incidentBeamPath/xRayTube/tension"),
            "current": quantity(measurement, "incidentBeamPath/xRayTube/current"),
            "wavelengths": {
                name: quantity(measurement, f"usedWavelength/{name}") for name in ("kAlpha1", "kAlpha2", "kBeta")
            },
            "detector": attribute(measurement, "diffractedBeamPath/detector", "name"),
            "scans": len(scans),
            **(scan_of(scans[0]) if scans else {}),
        }


def scan_of(scan: ElementTree.Element) -> dict[str, Any]:
    """What one scan says of itself."""
    points = len(intensities_of(scan))
    return {
        "instrument": text(scan, "header/source/instrumentID"),
        "software": text(scan, "header/source/applicationSoftware"),
        "started": text(scan, "header/startTimeStamp"),
        "ended": text(scan, "header/endTimeStamp"),
        "scan_axis": scan.get("scanAxis"),
        "scan_mode": scan.get("mode"),
        "points": points,
        "counting_time": quantity(scan, "dataPoints/commonCountingTime"),
        "axes": {
            positions.get("axis", "?"): range_of(positions, points) for positions in scan.iterfind("dataPoints/positions")
        },
    }


def range_of(positions: ElementTree.Element, points: int) -> dict[str, Any]:
    """Where an axis stood: at one place, from start to end in equal steps, or at listed places."""
    listed = [number(word) for word in (positions.findtext("listPositions") or "").split()]
    start, end = number(positions.findtext("startPosition")), number(positions.findtext("endPosition"))
    fixed = number(positions.findtext("commonPosition"))
    if fixed is not None:
        return {"start": fixed, "end": fixed, "step": None, "unit": positions.get("unit")}
    if listed:
        start, end = listed[0], listed[-1]
    step = round((end - start) / (points - 1), 9) if start is not None and end is not None and points > 1 else None
    return {"start": start, "end": end, "step": step, "unit": positions.get("unit")}
