"""The contract of every extractor, and what this one says of good files and bad ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from my_xrd_extractor import XRDExtractor
from openmsi_core import Reject
from openmsi_core.testing import ExtractorContract, data_file

SCAN = Path(__file__).parent / "data" / "theta.xrdml"


class TestContract(ExtractorContract):
    """Every check of openmsi's contract suite, with these samples."""

    plugin = "xrd-extractor"
    samples = {"data/theta.xrdml": {"anode": "Cu", "points": 5, "sample": {"name": "quartz, 5 µm"}}}
    rejects = ["data/truncated.xrdml"]


def extracted(data: bytes) -> dict:
    return XRDExtractor().extract(data_file(data, "scan.xrdml"))


def test_the_axes_of_a_scan_are_read() -> None:
    found = extracted(SCAN.read_bytes())
    assert found["axes"]["2Theta"] == {"start": 20.0, "end": 21.0, "step": 0.25, "unit": "deg"}
    assert found["counting_time"] == {"value": 0.5, "unit": "seconds"}


@pytest.mark.parametrize("version", ["1.0", "1.5", "2.2"])
def test_every_version_of_the_format_is_read(version: str) -> None:
    data = SCAN.read_bytes().replace(b"/1.5", b"/" + version.encode())
    if version[0] == "2":
        data = data.replace(b"intensities", b"counts")
    assert extracted(data)["points"] == 5


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<?xml version='1.0'?><other/>", "no xrdMeasurement element"),
        (b"<!DOCTYPE a [<!ENTITY b 'cc'>]><a>&b;</a>", "document type"),
        (b"<xrdMeasurements><xrdMeasurement/></xrdMeasurements>", "no scan"),
    ],
    ids=["other XML", "entities", "no scan"],
)
def test_what_is_no_scan_is_rejected_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(Reject, match=reason):
        extracted(data)


def test_a_measurement_without_scans_is_kept_on_request() -> None:
    extractor = XRDExtractor(XRDExtractor.Options(keep_empty=True))
    found = extractor.extract(data_file(b"<xrdMeasurements><xrdMeasurement/></xrdMeasurements>", "scan.xrdml"))
    assert found["scans"] == 0
