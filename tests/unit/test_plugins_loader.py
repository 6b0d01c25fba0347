"""Loading the plugins that were named."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from openmsi_core.errors import PluginError, SettingsError
from openmsi_core.plugins.catalogue import find
from openmsi_core.plugins.hooks import Announcer
from openmsi_core.plugins.loader import build, load, load_hooks, options_of
from openmsi_core.testing.files import data_file
from tests.plugin_fakes import GOOD, extractor, install

Installs = Callable[..., str]
_number = itertools.count()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installs:
    """Install an extractor from source, importable in this test only; answers its name."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def put(source: str, **more: object) -> str:
        name = f"plugin-{next(_number)}"
        extractor(tmp_path, f"package-{name}", name, source, **more)
        return name

    yield put
    for module in set(sys.modules) - before:
        del sys.modules[module]


def test_a_plugin_is_built_with_its_options_and_runs(installed: Installs, tmp_path: Path) -> None:
    name = installed(GOOD)
    runner = build(name, {"times": "2"})(tmp_path)
    assert runner.handle(data_file(b"abc")).results[0].value == {"bytes": 6}
    facts = runner.facts
    assert (facts.name, facts.kind, facts.package, facts.version) == (name, "extractor", f"package-{name}", "1.2.3")
    assert facts.options_hash != build(name, {})(None).facts.options_hash


def test_each_worker_gets_a_plugin_of_its_own(installed: Installs) -> None:
    make = build(installed(GOOD), {})
    assert make(None).plugin is not make(None).plugin


def test_a_package_without_a_window_runs_with_a_warning(installed: Installs, caplog: pytest.LogCaptureFixture) -> None:
    name = installed(GOOD, requires=())
    build(name, {})
    assert f"{name}: its package does not say which versions of openmsi it fits; write openmsi>=0.1,<1" in caplog.text
    caplog.clear()
    build(installed(GOOD), {})
    assert caplog.text == ""


def test_a_class_whose_length_is_nought_is_a_plugin_like_others(installed: Installs) -> None:
    name = installed(GOOD + "    def __len__(self): return 0\n    def __bool__(self): return False\n")
    assert build(name, {})(None).handle(data_file(b"abc")).results[0].value == {"bytes": 3}


def test_wrong_options_are_told_before_anything_is_built(installed: Installs) -> None:
    name = installed(GOOD)
    with pytest.raises(SettingsError, match=f"options of {name}: there is no option 'time', did you mean 'times'"):
        build(name, {"time": 2})


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (f"raise SystemExit('bye')\n{GOOD}", "SystemExit: bye"),
        (f"assert False\n{GOOD}", "AssertionError"),
        (f"raise ValueError('odd')\n{GOOD}", "ValueError: odd"),
        (f"import not_there_at_all.deep\n{GOOD}", "needs the module not_there_at_all, which is not installed"),
        (GOOD.replace("extract(", "extrakt("), "lacks the method extract"),
        (GOOD.replace("extract(", "extrakt(") + "Good = Good\n", "lacks the method extract"),
        (GOOD.replace("class Good(Extractor)", "class Good"), "is not a plugin"),
        (GOOD.replace("class Good(Extractor)", "class Good") + "Good = Good\n", "is not a plugin"),
        ("from openmsi_core import Sink\nGood = type('Good', (Sink,), {})", "not made from Extractor"),
        ("from openmsi_core import Sink\nclass Good(Sink):\n  def write(self, file): ...", "not made from Extractor"),
        (GOOD.replace("Options(PluginOptions)", "Options"), "must be made from PluginOptions"),
    ],
)
def test_a_plugin_that_cannot_be_loaded_says_why(installed: Installs, source: str, text: str) -> None:
    with pytest.raises(PluginError) as caught:
        build(installed(source), {})
    assert text in str(caught.value)
    assert "plugin-" in str(caught.value)


def test_the_cause_is_chained(installed: Installs) -> None:
    with pytest.raises(PluginError) as caught:
        load(find(installed(f"raise SystemExit('bye')\n{GOOD}")))
    assert isinstance(caught.value.__cause__, SystemExit)


def test_an_interrupt_while_loading_comes_through(installed: Installs) -> None:
    with pytest.raises(KeyboardInterrupt):
        build(installed(f"raise KeyboardInterrupt\n{GOOD}"), {})


def test_a_constructor_that_wants_something_else_is_told_so(installed: Installs) -> None:
    name = installed(GOOD + "    def __init__(self, colour): ...\n")
    with pytest.raises(PluginError, match=r"cannot be built: TypeError.*must take options, log and workdir"):
        build(name, {})(None)


def test_what_a_module_prints_when_imported_is_no_answer_of_ours(
    installed: Installs, capsys: pytest.CaptureFixture[str]
) -> None:
    options_of(installed(f"print('hello')\n{GOOD}"))
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "hello\n")


def test_a_renamed_entry_point_is_seen_at_once(installed: Installs, tmp_path: Path) -> None:
    name = installed(GOOD)
    build(name, {})
    (points,) = tmp_path.glob(f"package_{name.replace('-', '_')}*/entry_points.txt")
    points.write_text(points.read_text().replace(f"{name} =", f"{name}-new ="))
    build(f"{name}-new", {})
    with pytest.raises(PluginError, match="no plugin called"):
        build(name, {})


@pytest.mark.parametrize(
    ("code", "is_kept"),
    [
        ("from stevedore.driver import DriverManager; DriverManager('openmsi.extractors', 'file-info')", True),
        ("from openmsi_core.plugins.loader import options_of; options_of('file-info')", False),
    ],
    ids=["stevedore alone", "ours"],
)
def test_stevedores_cache_on_disk_is_neither_asked_nor_filled(tmp_path: Path, code: str, is_kept: bool) -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    elsewhere = "import sys; sys.executable = '/usr/bin/python3'; "  # in a temporary folder stevedore keeps nothing
    subprocess.run([sys.executable, "-c", elsewhere + code], env=environment, check=True)
    assert any(tmp_path.rglob("*")) == is_kept


def test_of_two_packages_with_one_name_the_one_that_is_said_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    for package, more in (("my-a", 1), ("my-between", 0), ("my-b", 2)):
        name = "between" if package == "my-between" else "twin"
        extractor(tmp_path, package, name, GOOD.replace("file.size", f"{more} * file.size"))
    try:
        found = [build(f"{package}/twin", {})(None).handle(data_file(b"abc")) for package in ("my-a", "My_B")]
        assert [done.results[0].value["bytes"] for done in found] == [3, 6]
        assert "my_between" not in sys.modules
    finally:
        for module in ("my_a", "my_b"):
            sys.modules.pop(module, None)


HOOKS = """
from openmsi_core import hookimpl
notes = []
class Notes:
    @hookimpl
    def openmsi_closing(self, reason):
        notes.append(reason)
"""


def test_hook_plugins_that_are_named_are_loaded_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    points = {"openmsi.hooks": {"notes": "my_hooks:Notes", "bad": "my_bad_hooks"}}
    install(tmp_path, "my-hooks", points, {"my_hooks.py": HOOKS, "my_bad_hooks.py": "raise SystemExit(1)"})
    announcer = Announcer()
    for name, observer in load_hooks(["notes"]):
        announcer.add(observer, name)
    announcer.tell("openmsi_closing", reason="over")
    assert sys.modules.pop("my_hooks").notes == ["over"]
    with pytest.raises(PluginError, match="SystemExit"):
        load_hooks(["bad"])
    with pytest.raises(PluginError, match="Did you mean 'notes'"):
        load_hooks(["note"])


def test_two_hooks_of_one_name_are_told_both_and_one_named_twice_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    for package in ("my-a", "my-b"):
        module = f"{package.replace('-', '_')}_hooks"
        install(tmp_path, package, {"openmsi.hooks": {"notes": f"{module}:Notes"}}, {f"{module}.py": HOOKS})
    announcer = Announcer()
    for name, observer in load_hooks(["my-a/notes", "my-b/notes"]):
        announcer.add(observer, name)
    announcer.tell("openmsi_closing", reason="over")
    assert [sys.modules.pop(f"{each}_hooks").notes for each in ("my_a", "my_b")] == [["over"], ["over"]]
    ((name, observer),) = load_hooks(["my-a/notes"])
    with pytest.raises(PluginError, match="the observer my-a/notes is named twice"):
        announcer.add(observer, name)
    sys.modules.pop("my_a_hooks")


def test_a_hook_class_that_cannot_be_built_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    source = "class Notes:\n  def __init__(self, where): ...\n"
    install(tmp_path, "my-c", {"openmsi.hooks": {"notes": "my_c_hooks:Notes"}}, {"my_c_hooks.py": source})
    with pytest.raises(PluginError, match=r"my-c/notes cannot be built: TypeError.*Its constructor must take nothing"):
        load_hooks(["notes"])
    sys.modules.pop("my_c_hooks")
