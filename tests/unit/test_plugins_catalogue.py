"""Which plugins are installed, found without importing any of them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from openmsi_core.errors import PluginError
from openmsi_core.plugins.catalogue import Entry, catalogue, find
from tests.plugin_fakes import GOOD, extractor, install

BANG = "raise SystemExit('imported')\n"


def only(folder: Path) -> Entry:
    (entry,) = catalogue([str(folder)])
    return entry


def test_a_plugin_is_listed_with_what_its_class_says(tmp_path: Path) -> None:
    source = GOOD.replace("accepts", "sniff = b'abc'\n    head = 4096\n    stability = 'new'\n    accepts")
    extractor(tmp_path, "my-good", "good", source)
    entry = only(tmp_path)
    assert (entry.kind, entry.name, entry.package, entry.version) == ("extractor", "good", "my-good", "1.2.3")
    assert (entry.status, entry.summary) == ("ok", "Counts bytes.")
    assert (entry.accepts, entry.sniff, entry.head, entry.stability) == (("*.txt",), "abc", 4096, "new")
    assert entry.window == "<1,>=0.1"


@pytest.mark.parametrize(
    ("source", "status", "detail"),
    [
        (f"{BANG}{GOOD}", "fails on import", "line 1 of my_good raises when it is imported"),
        (f"import os\nos._exit(3)\n{GOOD}", "fails on import", "line 2 of my_good ends the program"),
        (f"while True: pass\n{GOOD}", "ok", ""),
        (f"print('hello')\n{GOOD}", "ok", ""),
        (f"import not_there_at_all\n{GOOD}", "fails on import", "often `pip install not_there_at_all` mends it"),
        (f"try:\n  import not_there_at_all\nexcept ImportError:\n  pass\n{GOOD}", "ok", ""),
        (f"import sys\nsys.path.append('x')\nimport not_there_at_all\n{GOOD}", "ok", ""),
        (GOOD.replace("extract(", "extrakt("), "broken entry point", "its class lacks the method extract"),
        (GOOD.replace("Good(Extractor)", "Good"), "broken entry point", "its class is not made from Extractor"),
        (GOOD.replace("Good(Extractor)", "Good(Unknown)"), "ok", ""),
        (GOOD.replace("class Good", "@odd\nclass Good").replace("extract(", "x("), "ok", ""),
        (f"class Good: ...\n{GOOD}", "ok", ""),
        ("def broken(:\n", "broken entry point", "cannot be parsed"),
        ("class Other: ...\n", "broken entry point", "there is no Good in the module"),
        ("", "broken entry point", "there is no Good in the module"),
        ("\0", "broken entry point", "cannot be parsed"),
    ],
    ids=[
        "exits",
        "dies",
        "hangs",
        "prints",
        "import error",
        "optional import",
        "own path",
        "no method",
        "no base",
        "unknown base",
        "decorated",
        "bound twice",
        "syntax",
        "no class",
        "empty",
        "not text",
    ],
)
def test_a_module_is_never_run(tmp_path: Path, source: str, status: str, detail: str) -> None:
    extractor(tmp_path, "my-good", "good", source)
    entry = only(tmp_path)
    assert entry.status == status
    assert detail in entry.detail


@pytest.mark.parametrize("target", ["nowhere:Good", "my_good", "my_good:", "my_good.deeper:Good", "os.path.nothing:X"])
def test_an_entry_point_to_nothing_is_a_line(tmp_path: Path, target: str) -> None:
    install(tmp_path, "my-good", {"openmsi.sinks": {"good": target}}, {"my_good.py": GOOD})
    assert only(tmp_path).status == "broken entry point"


@pytest.mark.parametrize(
    ("requires", "status", "detail"),
    [
        (["openmsi>=0.1,<1"], "ok", ""),
        (["OpenMSI >= 0.0.1"], "ok", ""),
        (["openmsi>=7"], "incompatible", "it asks for openmsi>=7, this is "),
        (["openmsi<0.1; python_version >= '3'"], "incompatible", "pip install --upgrade my-good openmsi"),
        (["openmsi>=7; python_version < '3'"], "no window", "openmsi>=0.1,<1"),
        ([], "no window", "does not say"),
        (["openmsi"], "no window", "does not say"),
        (["openmsi>=0.1", "no-such-package-here>=1.10"], "missing: no-such-package-here>=1.10", "pip install 'no-such"),
        (["openmsi>=0.1", "click>=999"], "missing: click>=999", "is installed; pip install 'click>=999'"),
        (["openmsi>=0.1", "no-such-package-here; extra == 'more'"], "ok", ""),
        (["openmsi>=0.1", "what is this?"], "ok", ""),
    ],
)
def test_what_a_package_asks_for_is_judged(tmp_path: Path, requires: list[str], status: str, detail: str) -> None:
    extractor(tmp_path, "my-good", "good", GOOD, requires=requires)
    click = Path(importlib.util.find_spec("click").origin).parent.parent
    (entry,) = [each for each in catalogue([str(tmp_path), str(click)]) if each.name == "good"]
    assert entry.status == status
    assert detail in entry.detail


def test_an_extra_that_the_entry_point_asks_for_is_needed(tmp_path: Path) -> None:
    requires = ["openmsi>=0.1", "no-such-package-here; extra == 'more'"]
    points = {"openmsi.extractors": {"good": "my_good:Good [more]"}}
    install(tmp_path, "my-good", points, {"my_good.py": GOOD}, requires=requires)
    assert only(tmp_path).status == "missing: no-such-package-here"


def test_two_packages_with_one_name_are_both_shown_and_the_name_alone_is_an_error(tmp_path: Path) -> None:
    extractor(tmp_path, "my-a", "good", GOOD)
    extractor(tmp_path, "my-other", "other", GOOD)
    sink = GOOD.replace("Extractor", "Sink").replace("extract(", "write(")
    install(tmp_path, "My_B", {"openmsi.sinks": {"good": "my_b:Good"}}, {"my_b.py": sink})
    entries = catalogue([str(tmp_path)])
    assert [(each.qualified, each.status) for each in entries] == [
        ("my-a/good", "ambiguous"),
        ("my-other/other", "ok"),
        ("My_B/good", "ambiguous"),
    ]
    with pytest.raises(PluginError, match="several packages have a plugin called 'good': say my-a/good or My_B/good"):
        find("good", entries)
    assert find("my-b/good", entries).kind == "sink"


def test_a_hook_may_share_its_name_with_a_plugin_that_runs(tmp_path: Path) -> None:
    source = '"""Logs."""\n' + GOOD
    points = {"openmsi.extractors": {"good": "my_good:Good"}, "openmsi.hooks": {"good": "my_good"}}
    install(tmp_path, "my-good", points, {"my_good.py": source})
    entries = catalogue([str(tmp_path)])
    assert [(each.kind, each.status) for each in entries] == [("extractor", "ok"), ("hook", "ok")]
    assert find("good", entries).kind == "extractor"
    assert find("good", entries, hook=True).summary == "Logs."


def test_an_unknown_name_comes_with_a_suggestion(tmp_path: Path) -> None:
    extractor(tmp_path, "my-good", "good", GOOD)
    with pytest.raises(PluginError, match=r"no plugin called 'goood' is installed. Did you mean 'good'\?"):
        find("goood", catalogue([str(tmp_path)]))


def test_a_plugin_that_cannot_run_is_not_found_quietly(tmp_path: Path) -> None:
    extractor(tmp_path, "my-good", "good", GOOD, requires=["openmsi>=7"])
    with pytest.raises(PluginError, match="my-good/good cannot run: incompatible: it asks for openmsi>=7"):
        find("good", catalogue([str(tmp_path)]))


def test_re_exports_are_followed_without_importing_the_package(tmp_path: Path) -> None:
    modules = {
        "deep/__init__.py": f"{BANG}from .inner import Public\n",
        "deep/inner/__init__.py": "from ..core import Good as Public\n",
        "deep/core.py": f"{BANG}{GOOD}",
    }
    install(tmp_path, "deep", {"openmsi.extractors": {"good": "deep:Public"}}, modules)
    assert only(tmp_path).summary == "Counts bytes."


@pytest.mark.parametrize(
    ("source", "dynamic"),
    [
        ("Good = make()\n", ("class",)),
        ("from .somewhere import *\n", ("class",)),
        ("def __getattr__(name): ...\n", ("class",)),
        (GOOD.replace('("*.txt",)', "tuple(GLOBS)"), ("accepts",)),
        (f"if True:\n  try:\n    pass\n  except ImportError:\n    pass\n{GOOD}", ()),
    ],
)
def test_what_is_not_literal_is_dynamic(tmp_path: Path, source: str, dynamic: tuple[str, ...]) -> None:
    extractor(tmp_path, "my-good", "good", source)
    entry = only(tmp_path)
    assert (entry.status, entry.dynamic) == ("dynamic" if dynamic else "ok", dynamic)
    assert find("good", [entry]) == entry


def test_a_class_behind_a_condition_and_what_it_inherits_are_read(tmp_path: Path) -> None:
    source = (
        "class Base:\n  accepts = ('*.a',)\n  emits = 'b'\nif True:\n  class Good(Base):\n    '''Sum.'''\n    emits='g'"
    )
    extractor(tmp_path, "my-good", "good", source)
    entry = only(tmp_path)
    assert (entry.summary, entry.accepts, entry.emits) == ("Sum.", ("*.a",), "g")


def test_a_compiled_module_and_a_namespace_package_are_listed(tmp_path: Path) -> None:
    modules = {"space/part/good.py": GOOD, "native.so": ""}
    points = {"openmsi.extractors": {"good": "space.part.good:Good", "native": "native:X"}}
    install(tmp_path, "my-good", points, modules)
    assert {each.name: each.summary for each in catalogue([str(tmp_path)])} == {
        "good": "Counts bytes.",
        "native": "(module is made when imported)",
    }


def test_a_zipped_package_is_listed(tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    info = extractor(folder, "my-good", "good", GOOD)
    archive = tmp_path / "packed.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for file in [folder / "my_good.py", *info.iterdir()]:
            packed.write(file, file.relative_to(folder))
    # in a process of its own, because importlib.metadata keeps the archive open
    code = "import sys; from openmsi_core.plugins.catalogue import catalogue; print(catalogue(sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-c", code, str(archive)], capture_output=True, text=True, check=True)
    assert "summary='Counts bytes.'" in done.stdout


def test_a_package_that_cannot_be_read_is_a_line_and_the_others_are_listed(tmp_path: Path) -> None:
    info = extractor(tmp_path, "my-bad", "bad", GOOD)
    (info / "entry_points.txt").write_text("[openmsi.extractors]\nno equals sign\n")
    extractor(tmp_path, "my-good", "good", GOOD)
    lines = {each.package: each.status for each in catalogue([str(tmp_path)])}
    assert lines == {"my-bad": "broken entry point", "my-good": "ok"}


def test_of_two_installations_of_one_package_the_first_on_the_path_counts(tmp_path: Path) -> None:
    for folder, name in (("first", "new-name"), ("second", "old-name")):
        extractor(tmp_path / folder, "my-good", name, GOOD)
    path = [str(tmp_path / "first"), str(tmp_path / "second")]
    new, old = catalogue(path)
    assert (new.name, new.status) == ("new-name", "ok")
    assert (old.name, old.status) == ("old-name", "shadowed")
    assert f"my-good 1.2.3 in {path[0]} is imported instead; uninstall the one in {path[1]}" in old.detail
    with pytest.raises(PluginError, match="my-good/old-name cannot run: shadowed"):
        find("old-name", [new, old])


def test_what_an_interrupted_upgrade_left_behind_is_shadowed_and_makes_no_name_ambiguous(tmp_path: Path) -> None:
    extractor(tmp_path, "my-good", "good", GOOD, version="1.0")
    extractor(tmp_path, "my-good", "good", GOOD, version="2.0")
    assert sorted(each.status for each in catalogue([str(tmp_path)])) == ["ok", "shadowed"]


def test_a_folder_that_stands_on_the_path_twice_is_looked_at_once(tmp_path: Path) -> None:
    extractor(tmp_path, "my-good", "good", GOOD)
    (entry,) = catalogue([str(tmp_path), f"{tmp_path}/../{tmp_path.name}", str(tmp_path)])
    assert entry.status == "ok"


def test_a_module_that_another_of_its_name_hides_is_shadowed(tmp_path: Path) -> None:
    extractor(tmp_path / "site", "my-good", "good", GOOD)
    (tmp_path / "here").mkdir()
    (tmp_path / "here/my_good.py").write_text("print('somebody elses')")
    (entry,) = catalogue([str(tmp_path / "here"), str(tmp_path / "site")])
    assert entry.status == "shadowed"
    assert f"its module my_good is hidden by {tmp_path}/here/my_good.py" in entry.detail


def test_a_package_that_raises_before_the_module_of_the_entry_point_is_found_out(tmp_path: Path) -> None:
    modules = {"deep/__init__.py": f"\n{BANG}", "deep/core.py": GOOD}
    install(tmp_path, "deep", {"openmsi.extractors": {"good": "deep.core:Good"}}, modules)
    entry = only(tmp_path)
    assert (entry.status, entry.detail) == ("fails on import", "line 2 of deep raises when it is imported")


@pytest.mark.parametrize(
    ("top", "base"),
    [
        ("from openmsi_core import Extractor as E", "E"),
        ("import openmsi_core", "openmsi_core.Extractor"),
        ("import openmsi_core as om", "om.Extractor"),
        ("from openmsi_core import Extractor\nclass Mine(Extractor):\n  pass", "Mine"),
    ],
)
def test_what_a_class_is_made_from_is_found_however_it_is_written(tmp_path: Path, top: str, base: str) -> None:
    bad = f"{top}\nclass Good({base}):\n  'A class.'\n"
    extractor(tmp_path / "bad", "my-good", "good", bad)
    extractor(tmp_path / "good", "my-good", "good", f"{bad}  extract = print\n")
    assert only(tmp_path / "bad").status == "broken entry point"
    assert only(tmp_path / "good").status == "ok"


def test_a_copy_of_the_template_that_kept_its_module_is_told_so(tmp_path: Path) -> None:
    points = {"openmsi.extractors": {"mine": "my_xrd_extractor:Good"}}
    install(tmp_path, "my-thing", points, {"my_xrd_extractor.py": GOOD})
    entry = only(tmp_path)
    assert entry.status == "unrenamed template"
    assert find("mine", [entry]) == entry


def test_the_bundled_plugins_are_listed_like_anybodys() -> None:
    names = {each.qualified: each.status for each in catalogue()}
    assert names["openmsi/disk"] == names["openmsi/file-info"] == "ok"


def test_listing_imports_neither_the_plugins_nor_what_runs_them() -> None:
    code = (
        "import sys; from openmsi_core.plugins.catalogue import catalogue; catalogue();"
        "print([name for name in sys.modules if name.partition('.')[0] in "
        "{'pydantic', 'confluent_kafka', 'stevedore', 'pluggy', 'openmsi_plugins'}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
