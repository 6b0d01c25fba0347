"""A file that went wrong becomes a sample: one line in the contract class of the plugin's tests."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from openmsi_core.errors import FolderError, UsageError


@dataclass(frozen=True, slots=True)
class ContractClass:
    """Where the contract class of a plugin stands, and its list of files that must be rejected, if it has one."""

    file: Path
    node: ast.ClassDef
    rejects: ast.expr | None

    @property
    def samples_folder(self) -> Path:
        """Where its samples lie: ``data`` beside the test file."""
        return self.file.parent / "data"


def contract_class(folder: Path, names: set[str]) -> ContractClass:
    """The class in the test files of ``folder`` whose ``plugin`` is one of ``names``.

    Raises FolderError, UsageError when there is none or its ``rejects`` is no list of texts.
    """
    if not folder.is_dir():
        raise FolderError(f"there is no folder {folder}. Name the folder with the tests of the plugin: --as-test tests")
    for file in sorted(folder.glob("*.py")):
        for found in _classes(file, names):
            if found.rejects is not None and not isinstance(found.rejects, ast.List | ast.Tuple):
                raise UsageError(f"{file}:{found.rejects.lineno}: rejects is no list; write it as one, and try again.")
            return found
    wanted = " or ".join(repr(name) for name in sorted(names))
    raise UsageError(f"no test file in {folder} has a contract class with plugin = {wanted}. Write one, and try again.")


def with_reject(source: str, found: ContractClass, sample: str) -> str:
    """The source of the test file with ``sample`` in ``rejects``; as it is when it stands there already."""
    lines = source.splitlines(keepends=True)
    listed = found.rejects
    if listed is None:
        at = next(each for each in found.node.body if _target(each) == "plugin")
        indent = " " * at.col_offset
        lines.insert(at.end_lineno or at.lineno, f"{indent}rejects = [{_text(sample)}]\n")
        return "".join(lines)
    elements = listed.elts if isinstance(listed, ast.List | ast.Tuple) else []
    if any(isinstance(each, ast.Constant) and each.value == sample for each in elements):
        return source
    if not elements:
        return _insert(lines, listed.lineno, _column(lines, listed.lineno, listed.col_offset) + 1, _text(sample))
    last = elements[-1]
    row = last.end_lineno or last.lineno
    return _insert(lines, row, _column(lines, row, last.end_col_offset or 0), f", {_text(sample)}")


def _classes(file: Path, names: set[str]) -> Iterator[ContractClass]:
    try:
        tree = ast.parse(file.read_text("utf-8"))
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"{file} cannot be read: {error}. Correct it, and try again.") from error
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            said = {_target(each): each.value for each in node.body if isinstance(each, ast.Assign | ast.AnnAssign)}
            plugin = said.get("plugin")
            if isinstance(plugin, ast.Constant) and plugin.value in names:
                yield ContractClass(file, node, said.get("rejects"))


def _target(node: ast.stmt) -> str:
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    return target.id if isinstance(target, ast.Name) else ""


def _column(lines: list[str], row: int, offset: int) -> int:
    """Where a byte offset of `ast` is in the text of a line."""
    return len(lines[row - 1].encode("utf-8")[:offset].decode("utf-8"))


def _insert(lines: list[str], row: int, column: int, text: str) -> str:
    line = lines[row - 1]
    lines[row - 1] = line[:column] + text + line[column:]
    return "".join(lines)


def _text(sample: str) -> str:
    return '"' + sample.replace("\\", "\\\\").replace('"', '\\"') + '"'
