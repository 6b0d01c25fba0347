"""``openmsi crypto``: a root of trust, nodes, and a controller, without questions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from openmsi_core.cli.common import settings_choices, verbosity
from openmsi_core.errors import EXIT_DONE, EXIT_SOME_FAILED, SettingsError

if TYPE_CHECKING:
    from openmsi_core.settings import Settings
    from openmsi_core.wiring.provisioning import Listed

ROLES = ("producer", "consumer", "both", "controller")
_YEAR = 365 * 24 * 3600.0

_FOLDER = click.option(
    "--folder", type=click.Path(path_type=Path, file_okay=False), help="Where nodes lie. [default: [crypto] folder]"
)


@click.group()
def crypto() -> None:
    """Make a root of trust and nodes, list them, run a controller. Needs `openmsi[crypto]`.

    \b
    Example: openmsi crypto init keys
             openmsi crypto add xrd-pc --role both --topic xrd --folder keys
    """


@crypto.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path, file_okay=False))
@settings_choices
def init(folder: Path | None, settings: Settings) -> None:
    """Make a root of trust: the key that signs every node. Keep it offline.

    \b
    Example: openmsi crypto init keys
    """
    from openmsi_core.wiring.provisioning import make_root

    path = make_root(folder or settings.crypto.folder)
    click.echo(str(path))
    click.echo(
        "This file signs nodes and is needed for nothing else. Whoever has it can make a node that opens everything: "
        "keep it offline, with a copy, and name it with --root when you add a node.",
        err=True,
    )


@crypto.command()
@click.argument("node")
@click.option("--role", type=click.Choice(ROLES), required=True, help="Watches, uploads and runs are both.")
@click.option("--topic", "topics", multiple=True, metavar="T", help="For which topics; may be repeated.")
@click.option("--valid", metavar="TIME", help="How long, as in 1y, 90d; by default for ever.")
@click.option("--root", type=click.Path(path_type=Path, dir_okay=False), help="The root of trust's file.")
@click.option("--through-controller", is_flag=True, help="A consumer that asks for keys through a controller only.")
@_FOLDER
@settings_choices
def add(
    node: str,
    *,
    role: str,
    topics: tuple[str, ...],
    valid: str | None,
    root: Path | None,
    through_controller: bool,
    folder: Path | None,
    settings: Settings,
) -> None:
    """Make a node: what one process needs to seal and open. One for each watch, run and upload on a machine.

    A topic stands for all that have its name before the first dot. A topic that begins with ^ is a pattern.

    \b
    Example: openmsi crypto add xrd-pc --role both --topic xrd-raw --topic xrd-metadata --valid 1y
    """
    from openmsi_core.wiring.provisioning import make_node

    config = make_node(
        folder or settings.crypto.folder,
        node,
        role,
        topics,
        root=root,
        seconds=_valid(valid),
        through_controller=through_controller,
    )
    click.echo(str(config))


@crypto.command("list")
@_FOLDER
@click.option("--json", "as_json", is_flag=True, help="One JSON object a node and line.")
@settings_choices
def list_(folder: Path | None, as_json: bool, settings: Settings) -> int:
    """List the nodes with roles, topics and expiry, and what is wrong with them; exit code 4 when anything is.

    \b
    Example: openmsi crypto list
    """
    from openmsi_core.wiring.provisioning import nodes_in

    found = list(nodes_in(folder or settings.crypto.folder))
    for each in found:
        click.echo(json.dumps(_facts(each)) if as_json else _line(each))
    return EXIT_SOME_FAILED if any(each.problem for each in found) else EXIT_DONE


@crypto.command()
@click.argument("node")
@settings_choices
def adopt(node: str, settings: Settings) -> None:
    """Take over a node that was moved or restored here, when the first one is gone for good.

    \b
    Example: openmsi crypto adopt xrd-pc
    """
    from openmsi_core.wiring.provisioning import adopt_node

    click.echo(str(adopt_node(node, settings.crypto.folder)))


@crypto.command("run-controller")
@click.argument("node")
@settings_choices
@verbosity
def run_controller(node: str, *, settings: Settings, quiet: bool) -> int:
    """Pass requests for keys on to the producers, for consumers that may ask only through a controller.

    \b
    Example: openmsi crypto run-controller lab-controller
    """
    from openmsi_core.wiring.provisioning import control

    control(node, settings.crypto.folder, settings.kafka)
    if not quiet:
        click.echo("the controller has ended", err=True)
    return EXIT_DONE


def _valid(text: str | None) -> float:
    from openmsi_core.settings import seconds_of

    if text is None:
        return 0.0
    try:
        if text.endswith("y"):
            return float(text.removesuffix("y")) * _YEAR
        return float(str(seconds_of(text)))
    except ValueError as error:
        raise SettingsError(f"--valid {text!r} is no span like 1y, 90d or 12h") from error


def _facts(each: Listed) -> dict[str, object]:
    rights = each.rights
    return {
        "node": each.name,
        "folder": str(each.folder),
        "role": rights.role if rights else None,
        "topics": list(rights.topics) if rights and rights.topics is not None else None,
        "not_after": rights.not_after or None if rights else None,
        "problem": each.problem or None,
    }


def _line(each: Listed) -> str:
    from openmsi_core.model import shown
    from openmsi_core.wiring.provisioning import listed, until

    told = each.name
    if each.rights is not None:
        told += f"  {each.rights.role}  {listed(each.rights.topics)}  {until(each.rights.not_after)}"
    return shown(told + (f"  wrong: {each.problem}" if each.problem else ""))
