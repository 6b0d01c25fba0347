"""Reading a plugin's manifest without importing it: find the module's file, parse it, evaluate literals."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.machinery import BuiltinImporter, FrozenImporter, ModuleSpec, PathFinder
from pathlib import Path

_MAX_HOPS = 4


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the class says of itself. ``broken`` is why it cannot be loaded, "" if nothing speaks against it."""

    summary: str = ""
    literals: Mapping[str, object] = field(default_factory=dict)
    dynamic: tuple[str, ...] = ()
    broken: str = ""


def read(module: str, attribute: str, search: Sequence[str] | None = None) -> Manifest:
    """The manifest of ``attribute`` in ``module``; nothing is imported."""
    for _ in range(_MAX_HOPS):
        found = _look(module, attribute, search)
        if isinstance(found, Manifest):
            return found
        module, attribute = found
    return Manifest(summary="(re-exported too often)", dynamic=("class",))


def _look(module: str, attribute: str, search: Sequence[str] | None) -> Manifest | tuple[str, str]:
    """The manifest, or the module and name that it is re-exported from."""
    file = find_module(module, search)
    if file is None:
        return Manifest(broken=f"there is no module {module}")
    if file.suffix != ".py":
        return Manifest(summary="(compiled module)", dynamic=("module",))
    try:
        tree = ast.parse(file.read_bytes(), str(file))
    except (SyntaxError, ValueError, OSError) as error:
        return Manifest(broken=f"{file.name} cannot be read: {error}")
    found = _find_class(tree, attribute)
    if found is not None:
        return _manifest_of(found)
    hop = _reexport(tree, attribute, module, is_package=file.name == "__init__.py")
    if hop is None and _assigns(tree, attribute):
        return Manifest(summary="(made when imported)", dynamic=("class",))
    return hop or Manifest(broken=f"there is no class {attribute} in {module}")


def find_module(name: str, search: Sequence[str] | None = None) -> Path | None:
    """The file of a module, found without importing its parents; None when there is none.

    Editable installations put finders of their own on `sys.meta_path`; those are asked too, but only for the
    top-level name, which they answer without importing it.
    """
    paths: Sequence[str] = search if search is not None else sys.path
    spec: ModuleSpec | None = None
    parts = name.split(".")
    for at in range(len(parts)):
        whole = ".".join(parts[: at + 1])
        spec = PathFinder.find_spec(whole, list(paths))
        if spec is None and at == 0 and search is None:
            spec = _from_other_finders(whole)
        if spec is None:
            return None
        paths = list(spec.submodule_search_locations or [])
    return Path(spec.origin) if spec is not None and spec.origin else None


def _from_other_finders(name: str) -> ModuleSpec | None:
    for finder in sys.meta_path:
        if finder in (BuiltinImporter, FrozenImporter, PathFinder):
            continue
        spec = finder.find_spec(name, None)
        if spec is not None:
            return spec
    return None


def _find_class(tree: ast.Module, name: str) -> ast.ClassDef | None:
    return next((node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name), None)


def _assigns(tree: ast.Module, name: str) -> bool:
    return any(
        isinstance(node, ast.Assign) and any(isinstance(each, ast.Name) and each.id == name for each in node.targets)
        for node in tree.body
    )


def _reexport(tree: ast.Module, name: str, module: str, *, is_package: bool) -> tuple[str, str] | None:
    """Where ``from .x import Y`` says that ``name`` comes from."""
    for node in tree.body:
        if not isinstance(node, ast.ImportFrom):
            continue
        for alias in node.names:
            if (alias.asname or alias.name) == name:
                parts = module.split(".")
                base = parts[: len(parts) - node.level + is_package] if node.level else []
                return ".".join([*base, *([node.module] if node.module else [])]), alias.name
    return None


def _manifest_of(found: ast.ClassDef) -> Manifest:
    literals: dict[str, object] = {}
    dynamic: list[str] = []
    for node in found.body:
        name, value = _assignment(node)
        if name is None or value is None or name.startswith("_"):
            continue
        try:
            literals[name] = ast.literal_eval(value)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            dynamic.append(name)
    summary = (ast.get_docstring(found) or "").strip().partition("\n")[0]
    return Manifest(summary, literals, tuple(dynamic))


def _assignment(node: ast.stmt) -> tuple[str | None, ast.expr | None]:
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id, node.value
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id, node.value
    return None, None
