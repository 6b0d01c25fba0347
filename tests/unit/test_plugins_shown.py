"""`openmsi plugins show`, `check`, `--check`, `--probe`, and `openmsi which`."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

import pytest

from openmsi_core.cli import main
from tests.plugin_environment import ROOT, tree, wheel
from tests.plugin_fakes import GOOD, extractor, install

RICH = '''
from pathlib import Path
from typing import Literal
from pydantic import Field, SecretStr
from openmsi_core import PluginOptions, Sink

class Good(Sink):
    """Stores."""
    sniff = b"\\x89HDF"
    accepts = ("*.h5", "*.hdf5")

    class Options(PluginOptions):
        folder: Path
        """Where to."""
        mode: Literal["a", "b"] = "a"
        tags: list[str] = ["x"]
        labels: dict[str, str] = Field(default={"k": "v"})
        keep_empty: bool = True
        count: int | None = None
        password: SecretStr = SecretStr("hush")

    def write(self, file): ...
'''


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def rich(site: Path) -> None:
    install(site, "my-rich", {"openmsi.sinks": {"rich": "my_rich:Good"}}, {"my_rich.py": RICH})


def test_show_tells_each_option_as_flag_variable_and_table(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rich(site)
    assert main(["plugins", "show", "my-rich/rich"]) == 0
    out = capsys.readouterr().out
    assert "rich: Stores." in out
    assert "  accepts   *.h5, *.hdf5" in out
    assert r"  sniff     b'\x89HDF'" in out
    assert "  --folder PATH, OPENMSI_PLUGIN__RICH__FOLDER\n      Where to. (needed)" in out
    assert "  --keep-empty / --no-keep-empty, OPENMSI_PLUGIN__RICH__KEEP_EMPTY" in out
    assert "\n  OPENMSI_PLUGIN__RICH__PASSWORD\n      (not described) (a secret)" in out
    assert "hush" not in out
    table = tomllib.loads(out[out.index("  [run.rich.options]") :].replace("# ", ""))["run"]["rich"]["options"]
    assert (table["mode"], table["tags"], table["labels"], table["keep-empty"]) == ("a", ["x"], {"k": "v"}, True)
    assert table["password"].startswith("${")


def test_show_as_json_has_the_schema_and_no_secret(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rich(site)
    assert main(["plugins", "show", "rich", "--json"]) == 0
    out = capsys.readouterr().out
    told = json.loads(out)
    assert (told["qualified"], told["status"], told["accepts"]) == ("my-rich/rich", "ok", ["*.h5", "*.hdf5"])
    assert set(told["schema"]["properties"]) == {each["name"] for each in told["options"]}
    assert "hush" not in out


def test_show_tells_what_is_wrong_with_one_that_cannot_run(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    extractor(site, "my-new", "new", GOOD, requires=["openmsi>=99"])
    assert main(["plugins", "show", "new"]) == 0
    assert "status    incompatible: it asks for openmsi>=99" in capsys.readouterr().out


def test_show_of_an_ambiguous_name_prints_the_choices(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    extractor(site, "my-a", "twin", GOOD)
    extractor(site, "my-b", "twin", GOOD)
    assert main(["plugins", "show", "twin"]) == 2
    assert "say my-a/twin or my-b/twin" in capsys.readouterr().err
    assert main(["plugins", "show", "my-b/twin"]) == 0


def test_a_hook_can_be_shown(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = '"""Notes."""\nfrom openmsi_core import hookimpl\n@hookimpl\ndef openmsi_closing(): ...\n'
    install(site, "my-hooks", {"openmsi.hooks": {"notes": "my_notes"}}, {"my_notes.py": source})
    assert main(["plugins", "show", "notes"]) == 0
    out = capsys.readouterr().out
    assert "notes: Notes." in out
    assert "accepts" not in out


def test_check_and_probe_list_only_what_is_wrong(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    extractor(site, "my-good", "good", GOOD)
    extractor(site, "my-bad", "bad", GOOD.replace("int = 1", "int = 'x'"))
    assert main(["plugins", "--check"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["plugins", "--check", "--probe"]) == 2
    (_, line) = capsys.readouterr().out.splitlines()
    assert " bad " in line
    assert " broken options " in line


@pytest.mark.parametrize("is_wheel", [False, True], ids=["tree", "wheel"])
def test_a_package_without_fault_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str], is_wheel: bool) -> None:
    points = {"openmsi.extractors": {"my-thing": "my_thing:Good"}}
    path = (
        wheel(tmp_path, "my-thing", points, {"my_thing.py": GOOD})
        if is_wheel
        else tree(tmp_path / "my-thing", "my-thing", "my-thing", GOOD)
    )
    assert main(["plugins", "check", str(path)]) == 0
    assert capsys.readouterr().out == "my-thing 1.2.3: 1 plugin, no problems\n"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("pyproject.toml", "openmsi>=0.1,<1", "click"), "no window: its package does not say which versions"),
        (("pyproject.toml", "openmsi>=0.1,<1", "openmsi>=99"), "incompatible: it asks for openmsi>=99"),
        (("pyproject.toml", "my-thing =", "My_Thing ="), "'My_Thing' is no good name to type"),
        (("pyproject.toml", "my-thing =", "disk ="), "disk: openmsi has a plugin of that name too"),
        (("pyproject.toml", '"my_thing:Good"', '"json:Good"'), "the module json is not in the package"),
        (("pyproject.toml", '"my_thing:Good"', '"my_thing:God"'), "broken entry point: there is no God in the module"),
        (("src/my_thing/__init__.py", "Counts bytes.", ""), "its class has no docstring"),
        (("src/my_thing/__init__.py", "int = 1", "int = 'x'"), "broken options: options of my-thing: the default of"),
        (("src/my_thing/__init__.py", "\nclass", "\nprint(1)\nclass"), "it prints when it is imported: '1'"),
        (("src/my_thing/__init__.py", "\nclass", "\nimport no_such\nclass"), "fails on import: "),
    ],
)
def test_each_fault_of_a_package_is_said_before_it_is_published(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: tuple[str, str, str], said: str
) -> None:
    folder = tree(tmp_path / "my-thing", "my-thing", "my-thing", GOOD)
    name, before, after = change
    text = (folder / name).read_text()
    assert before in text
    (folder / name).write_text(text.replace(before, after))
    assert main(["plugins", "check", str(folder)]) == 2
    out = capsys.readouterr().out
    assert any(line.startswith("problem: ") and said in line for line in out.splitlines()), out


def test_an_undescribed_option_and_an_unread_attribute_are_notes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = GOOD.replace('"""How often each byte counts."""', "").replace('("*.txt",)', "tuple(['*.txt'])")
    assert main(["plugins", "check", str(tree(tmp_path / "x", "my-thing", "my-thing", source))]) == 0
    out = capsys.readouterr().out
    assert "note: my-thing: the option times is not described" in out
    assert main(["plugins", "check", "--no-probe", str(tmp_path / "x")]) == 0
    assert "note: my-thing: accepts cannot be read without importing it" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("pyproject", "said"),
    [
        (None, "cannot be read"),
        ("[project", "is not TOML"),
        ("[tool.x]\n", "has no [project] with a name"),
        ('[project]\nname = "x"\n', "it has no plugin: no entry point in any of openmsi.extractors"),
        (
            '[project]\nname = "x"\n[project.entry-points."openmsi.extractor"]\na = "b:C"\n',
            "nobody reads the entry points of 'openmsi.extractor'; did you mean 'openmsi.extractors'?",
        ),
    ],
)
def test_what_is_no_plugin_package_is_told_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], pyproject: str | None, said: str
) -> None:
    if pyproject is not None:
        (tmp_path / "pyproject.toml").write_text(pyproject)
    assert main(["plugins", "check", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert said in printed.out + printed.err


def test_a_file_that_is_no_wheel_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x-1-py3-none-any.whl").write_text("not a zip")
    assert main(["plugins", "check", str(tmp_path / "x-1-py3-none-any.whl")]) == 2
    assert "cannot be read as a wheel" in capsys.readouterr().err


def test_a_name_is_no_path(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "check", "disk"]) == 2
    assert "`openmsi plugins show NAME`" in capsys.readouterr().err


def test_a_copy_of_the_template_is_told_the_three_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = shutil.copytree(ROOT / "plugin_template", tmp_path / "copy")
    assert main(["plugins", "check", str(copy)]) == 2
    out = capsys.readouterr().out
    names = [line for line in out.splitlines() if "still has the template's name" in line]
    assert [line.split()[2] for line in names] == ["package", "module", "plugin"]


def test_which_says_who_would_take_a_file_and_why(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rich(site)
    for name, content in (("a.h5", b"\x89HDF..."), ("b.h5", b"text"), ("c.dat", b"..\x89HDF")):
        (tmp_path / name).write_bytes(content)
    assert main(["which", *(str(tmp_path / name) for name in ("a.h5", "b.h5", "c.dat")), "--json"]) == 0
    told = [json.loads(line)["plugins"] for line in capsys.readouterr().out.splitlines()]
    mine = [{each["name"]: each for each in found}["rich"] for found in told]
    assert [each["takes"] for each in mine] == [True, True, False]
    assert told[0][0]["name"] == "rich"
    assert "the first 4 KiB have" in mine[0]["why"]
    assert "the first 4 KiB lack" in mine[1]["why"]
    assert mine[2]["why"] == "the content is what it looks for, the name is not like *.h5, *.hdf5"


def test_which_leaves_out_what_cannot_run_and_names_the_rest_so_that_they_run(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("x")
    extractor(site, "my-new", "new", GOOD, requires=["openmsi>=99"])
    extractor(site, "my-a", "twin", GOOD)
    extractor(site, "my-b", "twin", GOOD)
    extractor(site, "my-late", "late", GOOD.replace('("*.txt",)', "globs()"))
    assert main(["which", str(tmp_path / "a.txt")]) == 0
    out = capsys.readouterr().out
    assert " new " not in out
    assert " my-a/twin " in out
    assert "perhaps: what it accepts is known only when it runs" in out


def test_a_file_that_nobody_takes_is_told_and_the_exit_code_is_4(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(tmp_path, "openmsi", {}, {}, version="0.1.0", requires=())  # without the bundled ones, that take all
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "a.zzz").write_text("x")
    assert main(["which", str(tmp_path / "a.zzz")]) == 4
    assert "no installed plugin takes it" in capsys.readouterr().out
