"""The contract of every processor, and what this one does with its option."""

from __future__ import annotations

from pathlib import Path

from my_xrd_extractor import XRDPoints
from openmsi_core.testing import ProcessorContract, data_file

SCAN = Path(__file__).parent / "data" / "theta.xrdml"


class TestContract(ProcessorContract):
    """Every check of openmsi's contract suite, with these samples."""

    plugin = "xrd-points"
    samples = {"data/theta.xrdml": [{"point": point, "intensity": ...} for point in range(5)]}
    rejects = ["data/truncated.xrdml"]


def test_points_below_the_limit_are_left_out() -> None:
    processor = XRDPoints(XRDPoints.Options(at_least=50))
    assert [each.value for each in processor.process(data_file(SCAN))] == [{"point": 3, "intensity": 90.0}]
