"""A module's source, found and parsed without importing it or its parents."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import BuiltinImporter, FrozenImporter, ModuleSpec, PathFinder

_MAX_SOURCE = 200_000  # characters: about a fifth of a second of parsing


def find_module(name: str, search: Sequence[str] | None = None) -> ModuleSpec | None:
    """The spec of a module, found without importing its parents; None when there is none.

    Editable installations put finders of their own on `sys.meta_path`; those are asked too, but only for the
    top-level name, which they answer without importing it.
    """
    paths: Sequence[str] = search if search is not None else sys.path
    spec: ModuleSpec | None = None
    parts = name.split(".")
    for at in range(len(parts)):
        whole = ".".join(parts[: at + 1])
        try:
            spec = PathFinder.find_spec(whole, list(paths))
        except KeyError:  # a namespace package inside another that was not imported
            spec = ModuleSpec(whole, None, is_package=True)
        if spec is None and at == 0 and search is None:
            spec = _from_other_finders(whole)
        if spec is None:
            return None
        paths = _below(spec, parts[at], paths)
    return spec


def _below(spec: ModuleSpec, part: str, paths: Sequence[str]) -> list[str]:
    """Where the submodules of a package are. A namespace package only tells that when its parents are imported."""
    if spec.loader is None:
        return [folder for folder in (os.path.join(path, part) for path in paths) if os.path.isdir(folder)]  # noqa: PTH112, PTH118
    return list(spec.submodule_search_locations or [])


def _from_other_finders(name: str) -> ModuleSpec | None:
    for finder in sys.meta_path:
        if finder in (BuiltinImporter, FrozenImporter, PathFinder):
            continue
        try:
            spec = finder.find_spec(name, None)
        except Exception:  # noqa: BLE001, S112 - a stranger's finder that fails has not found it
            continue
        if spec is not None:
            return spec
    return None


def parsed(spec: ModuleSpec) -> ast.Module | None:
    """The source of a module, parsed; None when there is none (compiled) or it is not worth the time.

    Raises what reading and parsing raise.
    """
    get_source = getattr(spec.loader, "get_source", None)
    source = get_source(spec.name) if get_source is not None else None
    return ast.parse(source) if source is not None and len(source) <= _MAX_SOURCE else None


def statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """What a module does at its top level, also behind ``if`` and ``try``."""
    for node in body:
        yield node
        if isinstance(node, ast.If):
            yield from statements([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            handlers = [each for handler in node.handlers for each in handler.body]
            yield from statements([*node.body, *handlers, *node.orelse, *node.finalbody])


def find_class(tree: ast.Module, name: str) -> ast.ClassDef | None:
    """The class called ``name`` (``Outer.Inner`` is one inside another)."""
    body: Sequence[ast.stmt] = tree.body
    found: ast.ClassDef | None = None
    for part in name.split("."):
        found = next((n for n in statements(body) if isinstance(n, ast.ClassDef) and n.name == part), None)
        if found is None:
            return None
        body = found.body
    return found


def bound(node: ast.stmt) -> set[str]:
    """The names that a statement binds."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.ImportFrom):
        return {alias.asname or alias.name for alias in node.names}
    if isinstance(node, ast.Import):
        return {alias.asname or alias.name.split(".", maxsplit=1)[0] for alias in node.names}
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.For | ast.With):
        return {each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}
    return set()
