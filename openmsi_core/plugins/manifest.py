"""Reading a plugin's manifest without importing it: find the module's source, parse it, evaluate literals.

What is not literal, or made when the module runs, is listed under `Manifest.dynamic` and left at that.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.machinery import BuiltinImporter, FrozenImporter, ModuleSpec, PathFinder

_MAX_HOPS = 5
_MAX_SOURCE = 1_000_000  # characters: about a second of parsing


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the class says of itself. ``broken`` is why it cannot be loaded, "" if nothing speaks against it."""

    summary: str = ""
    literals: Mapping[str, object] = field(default_factory=dict)
    dynamic: tuple[str, ...] = ()
    broken: str = ""


def read(module: str, attribute: str, search: Sequence[str] | None = None) -> Manifest:
    """The manifest of ``attribute`` in ``module``, or of the module itself when ``attribute`` is "".

    Nothing is imported. ``search``: folders instead of `sys.path`.
    """
    for _ in range(_MAX_HOPS):
        spec = find_module(module, search)
        if spec is None or spec.loader is None:
            return Manifest(broken=f"there is no module {module}")
        try:
            tree = _parsed(spec)
        except (SyntaxError, ValueError, RecursionError, MemoryError, ImportError, OSError) as error:
            return Manifest(broken=f"the module {module} cannot be parsed: {error}")
        if tree is None:
            return Manifest(dynamic=("module",))
        found = _look_up(tree, spec, module, attribute)
        if isinstance(found, Manifest):
            return found
        module, attribute = found
    return Manifest(dynamic=("class",))


def _look_up(tree: ast.Module, spec: ModuleSpec, module: str, attribute: str) -> Manifest | tuple[str, str]:
    """The manifest, or the module and name where to look next."""
    if not attribute:
        return Manifest(summary=_first_line(tree))
    found = _find_class(tree, attribute)
    if found is not None:
        return _manifest_of(found, tree)
    hop = _reexport(tree, attribute, module, is_package=spec.submodule_search_locations is not None)
    return hop or _without_class(tree, module, attribute)


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


def _parsed(spec: ModuleSpec) -> ast.Module | None:
    """The source of a module, parsed; None when there is none (compiled) or it is not worth the time.

    Raises what reading and parsing raise.
    """
    get_source = getattr(spec.loader, "get_source", None)
    source = get_source(spec.name) if get_source is not None else None
    return ast.parse(source) if source is not None and len(source) <= _MAX_SOURCE else None


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """What a module does at its top level, also behind ``if`` and ``try``."""
    for node in body:
        yield node
        if isinstance(node, ast.If):
            yield from _statements([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            handlers = [each for handler in node.handlers for each in handler.body]
            yield from _statements([*node.body, *handlers, *node.orelse, *node.finalbody])


def _find_class(tree: ast.Module, name: str) -> ast.ClassDef | None:
    """The class called ``name`` (``Outer.Inner`` is one inside another)."""
    body: Sequence[ast.stmt] = tree.body
    found: ast.ClassDef | None = None
    for part in name.split("."):
        found = next((n for n in _statements(body) if isinstance(n, ast.ClassDef) and n.name == part), None)
        if found is None:
            return None
        body = found.body
    return found


def _reexport(tree: ast.Module, name: str, module: str, *, is_package: bool) -> tuple[str, str] | None:
    """Where ``from .x import Y`` says that ``name`` comes from."""
    for node in _statements(tree.body):
        if not isinstance(node, ast.ImportFrom):
            continue
        for alias in node.names:
            if (alias.asname or alias.name) == name:
                parts = module.split(".")
                base = parts[: len(parts) - node.level + is_package] if node.level else []
                return ".".join([*base, *([node.module] if node.module else [])]), alias.name
    return None


def _without_class(tree: ast.Module, module: str, name: str) -> Manifest:
    """What is said of a name that no class statement binds: made when imported, or not there at all."""
    first = name.split(".", maxsplit=1)[0]
    for node in _statements(tree.body):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            return Manifest(dynamic=("class",))
        if first in _bound(node) or "__getattr__" in _bound(node):
            return Manifest(dynamic=("class",))
    return Manifest(broken=f"there is no {name} in the module {module}")


def _bound(node: ast.stmt) -> set[str]:
    """The names that a statement binds."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Import):
        return {alias.asname or alias.name.split(".", maxsplit=1)[0] for alias in node.names}
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.For | ast.With):
        return {each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}
    return set()


def _manifest_of(found: ast.ClassDef, tree: ast.Module, hops: int = _MAX_HOPS) -> Manifest:
    """What a class says, and what it takes over from classes of the same module."""
    literals: dict[str, object] = {}
    dynamic: set[str] = set()
    for base in reversed(found.bases):
        inherited = _find_class(tree, base.id) if isinstance(base, ast.Name) and hops else None
        if inherited is not None:
            above = _manifest_of(inherited, tree, hops - 1)
            literals |= above.literals
            dynamic |= set(above.dynamic)
    for node in found.body:
        name, value = _assignment(node)
        if name is None or value is None or name.startswith("_"):
            continue
        try:
            literals[name] = ast.literal_eval(value)
            dynamic.discard(name)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            literals.pop(name, None)
            dynamic.add(name)
    return Manifest(_first_line(found), literals, tuple(sorted(dynamic)))


def _assignment(node: ast.stmt) -> tuple[str | None, ast.expr | None]:
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id, node.value
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id, node.value
    return None, None


def _first_line(node: ast.Module | ast.ClassDef) -> str:
    return (ast.get_docstring(node) or "").strip().partition("\n")[0]
