"""What the extractor says of good files, and that it rejects bad ones."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from my_xrd_extractor import XRDExtractor
from openmsi_core import Reject
from openmsi_core.testing.files import data_file

SCAN = Path(__file__).parent / "data" / "theta.xrdml"


def extracted(data: bytes) -> dict:
    return XRDExtractor().extract(data_file(data, "scan.xrdml"))


def test_the_header_of_a_scan_is_read() -> None:
    found = XRDExtractor().extract(data_file(SCAN))
    assert found["anode"] == "Cu"
    assert found["sample"]["name"] == "quartz, 5 µm"
    assert found["wavelengths"]["kAlpha1"] == {"value": 1.540598, "unit": "Angstrom"}
    assert (found["scan_axis"], found["points"], found["scans"]) == ("Gonio", 5, 1)
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
        (b"", "not well-formed XML"),
        (SCAN.read_bytes()[:900], "not well-formed XML"),
        (b"<?xml version='1.0'?><other/>", "no xrdMeasurement element"),
        (b"<!DOCTYPE a [<!ENTITY b 'cc'>]><a>&b;</a>", "document type"),
        (b"<xrdMeasurements><xrdMeasurement/></xrdMeasurements>", "no scan"),
    ],
    ids=["empty", "cut off", "other XML", "entities", "no scan"],
)
def test_what_is_no_scan_is_rejected_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(Reject, match=reason):
        extracted(data)


def test_a_measurement_without_scans_is_kept_on_request() -> None:
    extractor = XRDExtractor(XRDExtractor.Options(keep_empty=True))
    found = extractor.extract(data_file(b"<xrdMeasurements><xrdMeasurement/></xrdMeasurements>", "scan.xrdml"))
    assert found["scans"] == 0


def test_openmsi_finds_the_installed_plugin_and_runs_it() -> None:
    assert any(point.value == "my_xrd_extractor:XRDExtractor" for point in entry_points(group="openmsi.extractors"))
    command = [sys.executable, "-m", "openmsi_core", "try", "xrd-extractor", str(SCAN), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["results"][0]["metadata"]["anode"] == "Cu"
