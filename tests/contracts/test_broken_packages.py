"""Twenty broken plugin packages, installed for real: each has its status, and a good plugin still runs."""

from __future__ import annotations

import json
import py_compile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.plugin_environment import Environment, compared, environment, tree, wheel
from tests.plugin_fakes import GOOD

HIDDEN_EXIT = "def leave():\n    raise SystemExit('bye')\n\nleave()\n"


@dataclass(frozen=True)
class Package:
    """One package with an extractor of its own name; its status as listed, and as found by importing it."""

    source: str
    listed: str
    detail: str = ""
    probed: str = ""
    says: str = ""
    requires: tuple[str, ...] = ("openmsi>=0.1,<1",)
    target: str = "{module}:Good"


BAD_DEFAULT = GOOD.replace("int = 1", "int = 'many'")
WITH_EXTRA = "{module}:Good [fast]"
FAILS, BROKEN = "fails on import", "broken entry point"
PACKAGES = {
    "good": Package(GOOD, "ok"),
    "syntax": Package("def broken(:\n", BROKEN, "cannot be parsed: invalid syntax"),
    "import-error": Package(
        f"import nowhere.deep\n{GOOD}", FAILS, "`pip install nowhere`", FAILS, "the module nowhere"
    ),
    "system-exit": Package(f"raise SystemExit('bye')\n{GOOD}", FAILS, "line 1", FAILS, "SystemExit: bye"),
    "exit-deeper": Package(f"{HIDDEN_EXIT}{GOOD}", "ok", "", FAILS, "SystemExit: bye"),
    "os-exit": Package(f"import os\nos._exit(3)\n{GOOD}", FAILS, "line 2", FAILS, "ends the process with exit code 3"),
    "segfault": Package(f"import ctypes\nctypes.string_at(0)\n{GOOD}", "ok", "", FAILS, "SIGSEGV"),
    "endless": Package(f"while True:\n    pass\n{GOOD}", "ok", "", FAILS, "longer than 3 s"),
    "prints": Package(f"print('loud')\n{GOOD}", "ok", "", "ok", "prints when it is imported: 'loud'"),
    "to-nothing": Package(GOOD, BROKEN, "there is no module nothing_here", target="nothing_here:Good"),
    "no-method": Package(GOOD.replace("extract(", "extrakt("), BROKEN, "lacks the method extract"),
    "too-new": Package(GOOD, "incompatible", "it asks for openmsi>=99", requires=("openmsi>=99",)),
    "no-window": Package(GOOD, "no window", "does not say which versions", requires=()),
    "bad-default": Package(
        GOOD.replace("int = 1", "int = 'many'"), "ok", "", "broken options", "the default of 'times'"
    ),
    "dynamic": Package(GOOD.replace('("*.txt",)', "tuple(g for g in ['*.txt'])"), "dynamic", "accepts", "ok"),
    "with-extra": Package(
        GOOD, "ok", requires=("openmsi>=0.1", "click; extra == 'fast'"), target="{module}:Good [fast]"
    ),
    "lacks-extra": Package(
        GOOD,
        "missing: nowhere>=1.10",
        "pip install 'nowhere>=1.10'",
        requires=("openmsi>=0.1", "nowhere>=1.10; extra == 'fast'"),
        target=WITH_EXTRA,
    ),
    "falsy": Package(f"{GOOD}    def __len__(self):\n        return 0\n", "ok"),
}
OTHERS = {"compiled": "dynamic", "spacious": "ok", "editable": "ok", "zipped": "ok"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment into which pip has installed all of them."""
    folder = tmp_path_factory.mktemp("wheels")
    made = environment(tmp_path_factory.mktemp("environment") / "venv")
    wheels = [_wheel(folder, name, package) for name, package in PACKAGES.items()]
    wheels += [_twin(folder, "first-twin"), _twin(folder, "other-twin"), _compiled(folder), _namespace(folder)]
    editable = tree(tmp_path_factory.mktemp("trees") / "editable", "package-editable", "editable", GOOD)
    made.install(*map(str, wheels), "-e", str(editable))
    archive = folder / "zipped.zip"
    with zipfile.ZipFile(wheel(folder, "package-zipped", _points("zipped"), {"package_zipped.py": GOOD})) as packed:
        archive.write_bytes(Path(str(packed.filename)).read_bytes())
    (made.site / "zipped.pth").write_text(f"{archive}\n")
    return made


def _points(name: str, target: str = "{module}:Good") -> dict[str, dict[str, str]]:
    return {"openmsi.extractors": {name: target.format(module=f"package_{name.replace('-', '_')}")}}


def _wheel(folder: Path, name: str, package: Package) -> Path:
    modules = {f"package_{name.replace('-', '_')}.py": package.source}
    points = _points(name, package.target)
    return wheel(folder, f"package-{name}", points, modules, requires=package.requires, extras=("fast",))


def _twin(folder: Path, package: str) -> Path:
    module = package.replace("-", "_")
    return wheel(folder, package, {"openmsi.extractors": {"twin": f"{module}:Good"}}, {f"{module}.py": GOOD})


def _compiled(folder: Path) -> Path:
    """Without its source."""
    (folder / "source.py").write_text(GOOD)
    compiled = Path(py_compile.compile(str(folder / "source.py"), str(folder / "source.pyc"), doraise=True))
    modules = {"package_compiled.pyc": compiled.read_bytes()}
    return wheel(folder, "package-compiled", _points("compiled"), modules)


def _namespace(folder: Path) -> Path:
    modules = {"laboratory/spacious/reader.py": GOOD}
    return wheel(folder, "package-spacious", _points("spacious", "laboratory.spacious.reader:Good"), modules)


def lines(installed: Environment, *arguments: str) -> dict[str, dict[str, str]]:
    """What `openmsi plugins` says of each, by its qualified name."""
    done = installed.run("plugins", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return {line["qualified"]: line for line in map(json.loads, done.stdout.splitlines())}


def test_each_has_its_status_without_being_imported(installed: Environment) -> None:
    listed = lines(installed)
    for name, package in PACKAGES.items():
        line = listed[f"package-{name}/{name}"]
        assert line["status"] == package.listed, line
        assert package.detail in line["detail"], line
    for name, status in OTHERS.items():
        assert listed[f"package-{name}/{name}"]["status"] == status
    assert listed["first-twin/twin"]["status"] == listed["other-twin/twin"]["status"] == "ambiguous"
    assert listed["openmsi/disk"]["status"] == "ok"


def test_importing_each_in_a_child_tells_the_rest(installed: Environment) -> None:
    probed = lines(installed, "--probe", "--timeout", "3")
    for name, package in PACKAGES.items():
        line = probed[f"package-{name}/{name}"]
        assert line["status"] == (package.probed or package.listed), line
        assert (package.says if package.probed else package.detail) in line["detail"], line
    for name in OTHERS:
        assert probed[f"package-{name}/{name}"]["status"] == "ok"


def test_check_lists_only_what_is_wrong_and_says_so_by_its_exit_code(installed: Environment) -> None:
    done = installed.run("plugins", "--check", "--json")
    assert done.returncode == 2
    names = {json.loads(line)["name"] for line in done.stdout.splitlines()}
    assert {"syntax", "too-new", "no-window", "twin"} <= names
    assert not {"good", "dynamic", "falsy", "disk"} & names


@pytest.mark.parametrize(
    "name", ["good", "prints", "no-window", "dynamic", "with-extra", "falsy", "first-twin/twin", *OTHERS]
)
def test_those_that_can_run_do(installed: Environment, tmp_path: Path, name: str) -> None:
    (tmp_path / "a.txt").write_text("abc")
    done = installed.run("try", name, "a.txt", "--json", cwd=tmp_path)
    assert (done.returncode, json.loads(done.stdout)["results"][0]["metadata"]) == (0, {"bytes": 3}), done.stderr


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("twin", "several packages have a plugin called 'twin': say first-twin/twin or other-twin/twin."),
        ("too-new", "cannot run: incompatible: it asks for openmsi>=99"),
        ("import-error", "needs the module nowhere, which is not installed"),
        ("system-exit", "cannot be imported from package_system_exit:Good: SystemExit: bye"),
        ("lacks-extra", "cannot run: missing: nowhere>=1.10"),
        ("bad-default", "'times'"),
    ],
)
def test_those_that_cannot_say_why_in_one_line(installed: Environment, tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "a.txt").write_text("abc")
    done = installed.run("try", name, "a.txt", cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_list_takes_150_ms_more_than_an_import_of_click(installed: Environment) -> None:
    bare = [installed.python, "-c", "import click"]
    assert compared(bare, [installed.python, "-m", "openmsi_core", "plugins"]) < 0.15


def test_an_entry_point_that_is_renamed_and_installed_again_is_seen_at_once(
    installed: Environment, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("abc")
    folder = tree(tmp_path / "tree", "package-renamed", "before", GOOD)
    for name in ("before", "after"):
        tree(folder, "package-renamed", name, GOOD)
        installed.install("-e", str(folder))
        listed = [each for each in lines(installed).values() if each["package"] == "package-renamed"]
        assert [(each["name"], each["status"]) for each in listed] == [(name, "ok")]
        assert installed.run("try", name, "a.txt", cwd=tmp_path).returncode == 0
    done = installed.run("try", "before", "a.txt", cwd=tmp_path)
    assert (done.returncode, "no plugin called 'before'" in done.stderr) == (2, True)
