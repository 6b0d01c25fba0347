"""What a module's source tells about how importing it will end, and what its class is made from.

Only what is certain is said. A module that hangs, crashes or ends the process by a way round is found by
`probing`, which imports it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from openmsi_core.plugins.source import bound, find_class, find_module, statements

_OURS = "openmsi_core"
_MAX_HOPS = 5
_ENDINGS = {"sys.exit", "os._exit", "os.abort", "exit", "quit"}


@dataclass(frozen=True, slots=True)
class Made:
    """The classes of openmsi_core that a class is made from, and the methods it has, its own and taken over."""

    bases: frozenset[str]
    methods: frozenset[str]


def certain_failure(tree: ast.Module, module: str, search: Sequence[str] | None = None) -> str:
    """Why importing this module will fail, "" if its source does not tell.

    Found are a ``raise`` and an ``exit()`` at the top of the module, and modules that nobody has installed. What
    stands behind ``if`` or ``try`` may be meant to fail.
    """
    for node in tree.body:
        if isinstance(node, ast.Raise):
            return f"line {node.lineno} of {module} raises when it is imported"
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and _dotted(node.value.func) in _ENDINGS:
            return f"line {node.lineno} of {module} ends the program when it is imported"
    if any(isinstance(node, ast.Attribute) and _dotted(node) in {"sys.path", "sys.modules"} for node in _nodes(tree)):
        return ""  # it arranges for itself what can be imported
    for name, line in _imported(tree):
        if find_module(name, search) is None and (search is None or find_module(name) is None):
            return (
                f"line {line} of {module} imports {name}, which is not installed and which its package does not ask "
                f"for; often `pip install {name}` mends it"
            )
    return ""


def made_from(found: ast.ClassDef, tree: ast.Module) -> Made | None:
    """What a class is made from. None: only importing it tells."""
    return _made_from(found, tree, _MAX_HOPS)


def _made_from(found: ast.ClassDef, tree: ast.Module, hops: int) -> Made | None:
    if found.decorator_list or found.keywords or not hops or _bindings(tree, found.name) != 1:
        return None
    bases: set[str] = set()
    methods = {name for node in statements(found.body) for name in bound(node)}
    for base in found.bases:
        ours = _name_in_ours(base, tree)
        inherited = find_class(tree, base.id) if isinstance(base, ast.Name) else None
        above = _made_from(inherited, tree, hops - 1) if inherited is not None else None
        if ours:
            bases.add(ours)
        elif above is not None:
            bases |= above.bases
            methods |= above.methods
        else:
            return None
    return Made(frozenset(bases), frozenset(methods))


def _bindings(tree: ast.Module, name: str) -> int:
    """How many statements of a module bind ``name``; a class inside another counts as one."""
    return sum(name in bound(node) for node in statements(tree.body)) or 1


def _name_in_ours(base: ast.expr, tree: ast.Module) -> str:
    """``Extractor`` for a name that was imported as that from openmsi_core, "" for any other."""
    first, _, rest = _dotted(base).partition(".")
    for node in statements(tree.body):
        if isinstance(node, ast.ImportFrom) and node.module == _OURS and not node.level and not rest:
            for alias in node.names:
                if (alias.asname or alias.name) == first:
                    return alias.name
        if isinstance(node, ast.Import) and rest and "." not in rest:
            for alias in node.names:
                if alias.name == _OURS and (alias.asname or alias.name) == first:
                    return rest
    return ""


def _imported(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """The top-level modules that a module imports whatever happens, with the line."""
    for node in tree.body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        for name in names:
            top = name.partition(".")[0]
            if top != _OURS and top not in sys.stdlib_module_names:
                yield top, node.lineno


def _nodes(tree: ast.Module) -> Iterator[ast.AST]:
    """Every node of the statements that run on import: what functions do is their own business."""
    for statement in tree.body:
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from ast.walk(statement)


def _dotted(node: ast.expr) -> str:
    """``a.b.c`` as it was written, "" for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""
