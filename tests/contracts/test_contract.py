"""The contract suite finds every fault that it is there for, and says so; it passes for what is right."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from openmsi_core.testing import ExtractorContract, ProcessorContract, SinkContract
from openmsi_core.testing.checks import Check, check, checks_of
from tests.contracts.faulty import BAD_SCAN, CORRECT, FAULTY, GOOD_SCAN, Faulty
from tests.plugin_fakes import install

CONTRACTS = {"extractor": ExtractorContract, "processor": ProcessorContract, "sink": SinkContract}
PLUGIN = "openmsi_core.testing.pytest_plugin"


def written(one: Faulty, number: int, site: Path) -> str:
    """Install a plugin into ``site``; the source of its contract class."""
    module = one.module or f"faulty_{number}"
    package, name = f"faulty-{number}", f"faulty-{number}"
    group = one.group or f"openmsi.{one.kind}s"
    install(site, package, {group: {name: f"{module}:It"}}, {f"{module}.py": one.source}, requires=[one.requires])
    options = "def options_in(self, folder): return {'folder': folder}" if one.kind == "sink" else ""
    rejects = [] if one.kind == "sink" else ["bad.scan"]
    return (
        f"class Test{number}({CONTRACTS[one.kind].__name__}):\n"
        f"    plugin = {name!r}\n    samples = {one.samples!r}\n    rejects = {rejects}\n"
        f"    {one.more}\n    {options}\n"
    )


def findings_of(plugins: list[Faulty], folder: Path, *chosen: str) -> dict[tuple[str, str], str]:
    """Class and check -> "" or why it failed, for the chosen tests (all of them if none is named)."""
    site, tests = folder / "site", folder / "tests"
    tests.mkdir()
    source = "".join(written(one, number, site) for number, one in enumerate(plugins))
    head = "from openmsi_core.testing import ExtractorContract, ProcessorContract, SinkContract\n"
    (tests / "test_it.py").write_text(head + source)
    (tests / "good.scan").write_text(GOOD_SCAN)
    (tests / "bad.scan").write_text(BAD_SCAN)
    (tests / "pytest.ini").write_text(f"[pytest]\naddopts = -p {PLUGIN} -p no:cacheprovider\nfilterwarnings = error\n")
    command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={folder}/report.xml"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [*command, *(f"test_it.py::{each}" for each in chosen)],
        cwd=tests, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    found = {}
    for case in ElementTree.parse(folder / "report.xml").getroot().iter("testcase"):  # noqa: S314 - our own
        failure = case.find("failure") if case.find("failure") is not None else case.find("error")
        skipped = case.find("skipped")
        text = "" if failure is None else f"{failure.get('message')}\n{failure.text}"
        if skipped is not None:
            text = f"skipped: {skipped.get('message')}"
        found[case.get("classname").rpartition(".")[2], case.get("name")] = text
    return found


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], str]:
    chosen = [f"Test{number}::{method_of(one)}" for number, one in enumerate(FAULTY)]
    return findings_of(FAULTY, tmp_path_factory.mktemp("faulty"), *chosen)


def method_of(one: Faulty) -> str:
    return f"test_{one.check.replace('-', '_')}"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", range(len(FAULTY)), ids=[f"{n}-{each.check}" for n, each in enumerate(FAULTY)])
def test_a_faulty_plugin_fails_the_check_that_is_there_for_it(number, findings) -> None:
    one = FAULTY[number]
    said = findings[f"Test{number}", method_of(one)]
    assert one.says in re.sub(r"\nE +", " ", said), said or "it passed"


def test_every_check_has_a_faulty_plugin() -> None:
    known = {each.name for contract in CONTRACTS.values() for each in checks_of(contract)}
    assert {each.check for each in FAULTY} == known
    assert len(known) >= 25


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_correct_plugin_of_each_kind_passes_every_check(tmp_path) -> None:
    findings = findings_of(CORRECT, tmp_path)
    assert len(findings) == sum(len(checks_of(contract)) for contract in CONTRACTS.values())
    assert {case: said for case, said in findings.items() if said} == {}


def test_inherited_assertions_show_values(findings) -> None:
    number = next(n for n, one in enumerate(FAULTY) if one.check == "deterministic")
    assert "At index 0 diff" in findings[f"Test{number}", "test_deterministic"]


def test_a_check_that_is_waived_is_not_run_and_says_why(tmp_path) -> None:
    waived = Faulty("", "extractor", CORRECT[0].source, "", more='waive = {"empty": "ours are never empty"}')
    findings = findings_of([waived], tmp_path, "Test0::test_empty")
    assert findings["Test0", "test_empty"] == "skipped: waived: empty: ours are never empty"


def test_without_the_pytest_plugin_the_contract_says_what_to_write(tmp_path) -> None:
    written(CORRECT[0], 0, tmp_path)
    (tmp_path / "test_it.py").write_text(
        "from openmsi_core.testing import ExtractorContract\nclass TestIt(ExtractorContract): plugin = 'faulty-0'\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert 'addopts = "-p openmsi_core.testing.pytest_plugin"' in done.stdout


def test_a_pending_check_tells_and_does_not_fail() -> None:
    class New:
        @check("new", "function", pending=True)
        def test_new(self) -> None:
            """Something that nobody was asked for before."""
            raise AssertionError("not yet")

    with pytest.raises(pytest.xfail.Exception, match="pending until the next minor release of openmsi: new: not yet"):
        New().test_new()
    says = "Something that nobody was asked for before."
    assert checks_of(New) == (Check("new", "function", "0.1", says, True),)


def test_pytest_loads_nothing_of_ours_unasked() -> None:
    from importlib.metadata import entry_points

    ours = [point for point in entry_points(group="pytest11") if "openmsi" in point.value]
    assert not ours
    loaded = "[n for n in sys.modules if n.startswith(('openmsi_core.testing.c', 'confluent'))]"
    code = f"import sys, {PLUGIN}; assert not {loaded}"
    subprocess.run([sys.executable, "-c", code], check=True)
