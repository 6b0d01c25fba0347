"""The extractor: an .xrdml header, whatever version of the format it is (XRDMeasurement 1.0 to 2.4)."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from openmsi_core import DataFile, Extractor, PluginOptions, Reject


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
        root = parsed(file)
        measurement = root.find("xrdMeasurement")
        if root.tag != "xrdMeasurements" or measurement is None:
            raise Reject("no xrdMeasurement element")
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
    """What one scan says of itself; intensities are called counts since version 2."""
    values = scan.findtext("dataPoints/intensities") or scan.findtext("dataPoints/counts") or ""
    points = len(values.split())
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


# ---- reading XML: nothing here is about X-rays


class _Builder(ElementTree.TreeBuilder):
    """Builds elements without their namespace, which changes with every version, and refuses entities."""

    def start(self, tag: str, attributes: dict[str, str]) -> ElementTree.Element:
        return super().start(tag.rpartition("}")[2], attributes)

    def end(self, tag: str) -> ElementTree.Element:
        return super().end(tag.rpartition("}")[2])

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        raise Reject("it declares a document type; entities in it could fill the memory")


def parsed(file: DataFile) -> ElementTree.Element:
    """The root element. Raises Reject for what is not XML, or not all of it."""
    parser = ElementTree.XMLParser(target=_Builder())
    try:
        with file.open() as content:
            while piece := content.read(1 << 20):
                parser.feed(piece)
        return parser.close()
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise Reject(f"not well-formed XML: {error}") from error


def text(element: ElementTree.Element, path: str) -> str | None:
    """The text of an element, None if it is missing or empty."""
    return (element.findtext(path) or "").strip() or None


def number(word: str | None) -> float | None:
    """A number, None if it is missing or none."""
    try:
        return float(word or "")
    except ValueError:
        return None


def quantity(element: ElementTree.Element, path: str) -> dict[str, Any] | None:
    """A number with its unit, None if it is missing."""
    value = number(element.findtext(path))
    return None if value is None else {"value": value, "unit": attribute(element, path, "unit")}


def attribute(element: ElementTree.Element, path: str, name: str) -> str | None:
    """An attribute of an element, None if either is missing."""
    found = element.find(path)
    return None if found is None else found.get(name)
