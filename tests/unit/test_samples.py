"""A file that went wrong gets its line in the contract class, and the rest of the test file stays as it is."""

from __future__ import annotations

import pytest

from openmsi_core.cli import main
from openmsi_core.errors import FolderError, UsageError
from openmsi_core.plugins.samples import contract_class, with_reject

HEAD = (
    "# µ\nfrom openmsi_core.testing import ExtractorContract\n\nclass TestIt(ExtractorContract):\n    plugin = 'it'\n"
)


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        ("", '    rejects = ["data/x.raw"]\n'),
        ("    rejects = []\n", '    rejects = ["data/x.raw"]\n'),
        ("    rejects = ['a']  # b\n", "    rejects = ['a', \"data/x.raw\"]  # b\n"),
        ("    rejects = ('µ', 'b')\n", "    rejects = ('µ', 'b', \"data/x.raw\")\n"),
        ("    rejects = ('a',)\n", "    rejects = ('a', \"data/x.raw\",)\n"),
        ("    rejects = [\n        'a',\n    ]\n", "    rejects = [\n        'a', \"data/x.raw\",\n    ]\n"),
        ("    rejects = ['data/x.raw']\n", "    rejects = ['data/x.raw']\n"),
    ],
)
def test_the_file_is_named_once(body, changed, tmp_path) -> None:
    (tmp_path / "test_it.py").write_text(HEAD + body, "utf-8")
    source = with_reject(HEAD + body, contract_class(tmp_path, {"it", "p/it"}), "data/x.raw")
    assert source == HEAD + changed
    namespace: dict[str, object] = {}
    exec(source, namespace)  # noqa: S102 - our own
    assert "data/x.raw" in namespace["TestIt"].rejects  # type: ignore[attr-defined]


def test_a_name_with_quotes_is_still_one_name(tmp_path) -> None:
    (tmp_path / "test_it.py").write_text(HEAD, "utf-8")
    source = with_reject(HEAD, contract_class(tmp_path, {"it"}), 'data/a"\\.raw')
    namespace: dict[str, object] = {}
    exec(source, namespace)  # noqa: S102 - our own
    assert namespace["TestIt"].rejects == ['data/a"\\.raw']  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("class TestIt:\n    plugin = 'other'\n", "no test file"),
        (HEAD + "    rejects = list('ab')\n", r"test_it.py:6: rejects is no list"),
        ("class (:\n", "cannot be read"),
    ],
)
def test_what_cannot_be_changed_is_said(source, says, tmp_path) -> None:
    (tmp_path / "test_it.py").write_text(source, "utf-8")
    with pytest.raises(UsageError, match=says):
        contract_class(tmp_path, {"it"})


def test_a_folder_that_is_not_there_is_said(tmp_path) -> None:
    with pytest.raises(FolderError, match="there is no folder"):
        contract_class(tmp_path / "none", {"it"})


@pytest.mark.parametrize("words", [[], ["--to", "a", "--as-test", "b"]])
def test_one_place_must_be_named(words, capsys) -> None:
    assert main(["dlq", "save", "0-0", "--topic", "t", *words]) == 2
    assert "--to PLACE, or --as-test DIR" in capsys.readouterr().err
