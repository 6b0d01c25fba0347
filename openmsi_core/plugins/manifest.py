"""Reading a plugin's manifest without importing it: find the module's source, parse it, evaluate literals.

What is not literal, or made when the module runs, is listed under `Manifest.dynamic` and left at that.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.machinery import ModuleSpec

from openmsi_core.plugins.soundness import Made, certain_failure, made_from
from openmsi_core.plugins.source import bound, find_class, find_module, parsed, statements

FIELDS = ("accepts", "sniff", "head", "early", "emits", "delivery", "cite", "stability")
_MAX_HOPS = 5


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the class says of itself.

    ``dynamic`` names those of `FIELDS` that are known only after importing it, or is ``("class",)`` or
    ``("module",)``. ``broken`` is why it cannot be loaded, ``fails`` why importing it is going to fail as far as its
    source tells; both are "" if nothing speaks against it. ``made`` is None when only importing tells.
    """

    summary: str = ""
    literals: Mapping[str, object] = field(default_factory=dict)
    dynamic: tuple[str, ...] = ()
    broken: str = ""
    fails: str = ""
    made: Made | None = None


class _Unreadable(Exception):
    """There is no such module, or it cannot be parsed; the text says which."""


def read(module: str, attribute: str, search: Sequence[str] | None = None) -> Manifest:
    """The manifest of ``attribute`` in ``module``, or of the module itself when ``attribute`` is "".

    Nothing is imported. ``search``: folders instead of `sys.path`.
    """
    fails = ""
    try:
        for _ in range(_MAX_HOPS):
            spec, tree, trouble = _opened(module, search)
            fails = fails or trouble
            if tree is None:
                return Manifest(dynamic=("module",), fails=fails)
            found = _look_up(tree, spec, module, attribute)
            if isinstance(found, Manifest):
                return replace(found, fails=fails)
            module, attribute = found
    except _Unreadable as error:
        return Manifest(broken=str(error))
    return Manifest(dynamic=("class",), fails=fails)


def _opened(module: str, search: Sequence[str] | None) -> tuple[ModuleSpec, ast.Module | None, str]:
    """A module's spec and tree (None: nothing to parse), and why importing it fails. Its parents are imported first."""
    names = module.split(".")
    fails = ""
    for depth in range(1, len(names)):
        parent = find_module(".".join(names[:depth]), search)
        if parent is None:
            break
        tree = _tree(parent)
        fails = fails or (certain_failure(tree, parent.name, search) if tree is not None else "")
    spec = find_module(module, search)
    if spec is None or spec.loader is None:
        raise _Unreadable(f"there is no module {module}")
    tree = _tree(spec)
    return spec, tree, fails or (certain_failure(tree, module, search) if tree is not None else "")


def _tree(spec: ModuleSpec) -> ast.Module | None:
    try:
        return parsed(spec)
    except (SyntaxError, ValueError, RecursionError, MemoryError, ImportError, OSError) as error:
        raise _Unreadable(f"the module {spec.name} cannot be parsed: {error}") from error


def _look_up(tree: ast.Module, spec: ModuleSpec, module: str, attribute: str) -> Manifest | tuple[str, str]:
    """The manifest, or the module and name where to look next."""
    if not attribute:
        return Manifest(summary=_first_line(tree))
    found = find_class(tree, attribute)
    if found is not None:
        return replace(_manifest_of(found, tree), made=made_from(found, tree))
    hop = _reexport(tree, attribute, module, is_package=spec.submodule_search_locations is not None)
    return hop or _without_class(tree, module, attribute)


def _reexport(tree: ast.Module, name: str, module: str, *, is_package: bool) -> tuple[str, str] | None:
    """Where ``from .x import Y`` says that ``name`` comes from."""
    for node in statements(tree.body):
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
    for node in statements(tree.body):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            return Manifest(dynamic=("class",))
        if first in bound(node) or "__getattr__" in bound(node):
            return Manifest(dynamic=("class",))
    return Manifest(broken=f"there is no {name} in the module {module}")


def _manifest_of(found: ast.ClassDef, tree: ast.Module, hops: int = _MAX_HOPS) -> Manifest:
    """What a class says, and what it takes over from classes of the same module."""
    literals: dict[str, object] = {}
    dynamic: set[str] = set()
    for base in reversed(found.bases):
        inherited = find_class(tree, base.id) if isinstance(base, ast.Name) and hops else None
        if inherited is not None:
            above = _manifest_of(inherited, tree, hops - 1)
            literals |= above.literals
            dynamic |= set(above.dynamic)
    for node in found.body:
        name, value = _assignment(node)
        if name not in FIELDS or value is None:
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
