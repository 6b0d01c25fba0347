"""The contract of every sink, and where this one puts files."""

from __future__ import annotations

from pathlib import Path

from my_xrd_extractor import XRDShelf
from openmsi_core.testing import SinkContract, data_file

SCAN = Path(__file__).parent / "data" / "theta.xrdml"


class TestContract(SinkContract):
    """Every check of openmsi's contract suite, with these samples."""

    plugin = "xrd-shelf"
    samples = ["data/theta.xrdml"]

    def options_in(self, folder: Path) -> dict[str, object]:
        return {"folder": folder}


def test_a_file_goes_to_the_folder_of_its_day(tmp_path: Path) -> None:
    sink = XRDShelf(XRDShelf.Options(folder=tmp_path))
    stored = sink.write(data_file(SCAN, mtime_ns=0))
    assert Path(stored.location).parent == tmp_path / "1970-01-01"
