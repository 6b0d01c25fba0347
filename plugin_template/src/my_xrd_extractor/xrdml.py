"""Reading .xrdml: XML whose namespace changes with every version. Nothing here knows openmsi's kinds."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from openmsi_core import DataFile, Reject


def measurement_of(file: DataFile) -> tuple[ElementTree.Element, ElementTree.Element]:
    """The root and its first measurement. Raises Reject for what is no scan."""
    root = parsed(file)
    measurement = root.find("xrdMeasurement")
    if root.tag != "xrdMeasurements" or measurement is None:
        raise Reject("no xrdMeasurement element")
    return root, measurement


def intensities_of(scan: ElementTree.Element) -> list[str]:
    """The measured values as they were written; they are called counts since version 2."""
    return (scan.findtext("dataPoints/intensities") or scan.findtext("dataPoints/counts") or "").split()


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
