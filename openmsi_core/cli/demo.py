"""``openmsi demo``: the whole journey on this machine, with the commands that a person would type."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import click

from openmsi_core.errors import OpenmsiError

TOPIC = "demo"
RESULTS = "demo-results"


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where to work; by default a fresh temporary folder, which stays for you to look at.",
)
def demo(folder: Path | None) -> None:
    """The whole journey on this machine: a broker, files going in, a plugin's results, the files on disk.

    \b
    Example: openmsi demo
    """
    from openmsi_core.kafka.embedded import PROMISES_NOT, embedded

    folder = (folder or Path(tempfile.mkdtemp(prefix="openmsi-demo-"))).resolve()
    incoming, outgoing = folder / "instrument", folder / "archive"
    incoming.mkdir(parents=True, exist_ok=True)
    _say(f"Working in {folder}")
    _write_files(incoming)
    with embedded() as broker:
        _say(f"A broker runs at {broker.address} ({PROMISES_NOT})")
        _journey(broker.address, incoming, outgoing)
    if _files(incoming) != _files(outgoing):
        raise OpenmsiError(f"the files in {outgoing} are not those in {incoming}; please report this")
    _say("What happened:")
    click.echo(f"  files sent      {len(_files(incoming))}  {incoming}")
    click.echo(f"  files received  {len(_files(outgoing))}  {outgoing}   (equal, byte for byte)")
    _say("Where to look next: `openmsi plugins` lists what can be run; docs/tutorial.md goes on from here.")


def _journey(address: str, incoming: Path, outgoing: Path) -> None:
    broker = ["--broker", address]
    _openmsi("topics", "create", TOPIC, "--partitions", "2", *broker)
    _openmsi("topics", "create", RESULTS, "--partitions", "1", "--plain", *broker)
    _openmsi("upload", str(incoming), "--topic", TOPIC, *broker)
    _openmsi("run", "disk", "--topic", TOPIC, "--folder", str(outgoing), "--until-caught-up", *broker)
    extractor = "xrd-extractor" if _is_installed("xrd-extractor") else "file-info"
    _openmsi("run", extractor, "--topic", TOPIC, "--output-topic", RESULTS, "--until-caught-up", *broker)
    _openmsi("topics", "peek", RESULTS, "--json", *broker)


def _openmsi(*arguments: str) -> None:
    """Run one command as a person would, and show it; a command that fails ends the demo."""
    click.echo(click.style("\n$ openmsi " + " ".join(arguments), bold=True))
    sys.stdout.flush()
    done = subprocess.run([sys.executable, "-m", "openmsi_core", *arguments], check=False)  # noqa: S603 - our own
    if done.returncode != 0:
        raise OpenmsiError(f"`openmsi {' '.join(arguments)}` ended with exit code {done.returncode}, see above")


def _is_installed(name: str) -> bool:
    from openmsi_core.plugins.catalogue import catalogue

    return any(entry.name == name for entry in catalogue())


def _write_files(folder: Path) -> None:
    """What an instrument might leave: two scans, a log, an empty marker and something larger than a chunk."""
    scan = _SCAN.replace("{anode}", "Cu").replace("{counts}", " ".join(str(100 + n % 17) for n in range(201)))
    (folder / "2026-11-24").mkdir(exist_ok=True)
    (folder / "2026-11-24" / "sample A.xrdml").write_text(scan, "utf-8")
    (folder / "2026-11-24" / "sample B.xrdml").write_text(scan.replace("Cu", "Co"), "utf-8")
    (folder / "2026-11-24" / "session.log").write_text("08:31 door closed\n08:32 scan begins\n", "utf-8")
    (folder / "done.flag").touch()
    (folder / "detector.raw").write_bytes(bytes(range(256)) * 8192)


def _files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".openmsi" not in path.parts
    }


def _say(text: str) -> None:
    click.echo(f"\n{text}")


_SCAN = """<?xml version="1.0" encoding="UTF-8"?>
<xrdMeasurements xmlns="http://www.xrdml.com/XRDMeasurement/1.5" status="Completed">
  <sample type="To be analyzed"><id>demo</id><name>made by openmsi demo</name></sample>
  <xrdMeasurement measurementType="Scan" status="Completed">
    <usedWavelength intended="K-Alpha 1">
      <kAlpha1 unit="Angstrom">1.5405980</kAlpha1>
      <kAlpha2 unit="Angstrom">1.5444260</kAlpha2>
      <ratioKAlpha2KAlpha1>0.5000</ratioKAlpha2KAlpha1>
    </usedWavelength>
    <incidentBeamPath><xRayTube><tension unit="kV">45</tension><current unit="mA">40</current>
      <anodeMaterial>{anode}</anodeMaterial></xRayTube></incidentBeamPath>
    <scan appendNumber="0" mode="Continuous" scanAxis="Gonio" status="Completed">
      <header><startTimeStamp>2026-11-24T08:32:00+01:00</startTimeStamp></header>
      <dataPoints>
        <positions axis="2Theta" unit="deg">
          <startPosition>20.0</startPosition><endPosition>30.0</endPosition></positions>
        <commonCountingTime unit="seconds">1.0</commonCountingTime>
        <intensities unit="counts">{counts}</intensities>
      </dataPoints>
    </scan>
  </xrdMeasurement>
</xrdMeasurements>
"""
