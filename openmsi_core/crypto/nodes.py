"""The files of a node: what a program needs to seal and open, one folder for each node and process.

::

    NODE.config   INI with ':' between name and value: chain, allowlist, old keys (wrapped)
    NODE.crypto   msgpack [2, [secret signing key (64)], wrap key (32), False, [kinds of key exchange]]
    NODE.seed     msgpack [number, secret (32)]: the ratchet that data keys are made from
    NODE.home     ours: on which machine, in which files the node lives, so that a copy is noticed
    NODE.keys     ours, with keyring = "file": data keys that came, wrapped

The first three are KafkaCrypto's formats: its own tools and OpenMSIStream read what is written here and the reverse.
"""

from __future__ import annotations

import base64
import binascii
import configparser
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgpack

from openmsi_core.crypto.certificates import PUBLISHED_ROOT, BadChain, Rights, public_of, rights_of
from openmsi_core.errors import CipherError

SECRETS_MODE, FOLDER_MODE = 0o600, 0o700
ROOT_FILE = "root.key"


@dataclass(frozen=True, slots=True)
class Node:
    """A node as its files say. ``wrap`` is the key that keeps its own secrets on disk."""

    name: str
    config: Path
    crypto: Path
    seed: Path
    chains: tuple[bytes, ...]
    allowlist: tuple[bytes, ...]
    wrap: bytes

    @property
    def home(self) -> Path:
        """Where its machine is noted."""
        return self.config.with_name(f"{self.name}.home")

    @property
    def keyring(self) -> Path:
        """Where data keys are kept that came."""
        return self.config.with_name(f"{self.name}.keys")

    @property
    def lock(self) -> Path:
        """Held by the process that uses the node."""
        return self.config.with_name(f"{self.name}.lock")

    def rights(self) -> Rights:
        """What its chain allows; the one that lasts longest. Raises CipherError with the reason when none holds."""
        found: list[Rights] = []
        reasons = []
        for chain in self.chains:
            try:
                found.append(rights_of(chain, self.allowlist))
            except BadChain as error:
                reasons.append(str(error))
        if not found:
            why = reasons[-1] if reasons else "it has none"
            raise CipherError(
                f"the node {self.name} has no chain that holds: {why} ({self.config}). Make the node anew with "
                "`openmsi crypto add`, signed by the root of trust that the others have."
            )
        return max(found, key=lambda rights: rights.not_after or float("inf"))

    def trusts_everybody(self) -> bool:
        """True when the temporary root of trust is on its allowlist: the secret of that root is published."""
        return any(_public(each) == PUBLISHED_ROOT for each in self.allowlist)


def config_of(place: str | Path, nodes: Path) -> Path:
    """The configuration file of a node: ``place`` is that file, the node's folder, or its name below ``nodes``.

    Raises CipherError.
    """
    given = Path(place).expanduser()
    tried = [given, nodes / given] if len(given.parts) == 1 else [given]
    for each in tried:
        if each.is_file():
            return each.absolute()
        inside = each / f"{each.absolute().name}.config"
        if inside.is_file():
            return inside.absolute()
        others = sorted(each.glob("*.config")) if each.is_dir() else []
        if len(others) == 1:
            return others[0].absolute()
    where = " nor ".join(str(each) for each in tried)
    raise CipherError(
        f"there is no node {place}: neither {where} is its folder or its .config file. `openmsi crypto list` shows the "
        "nodes, `openmsi crypto add` makes one."
    )


def node_at(config: Path) -> Node:
    """The node of a configuration file, checked. Raises CipherError: a file is missing, unreadable or not its own."""
    table = _parsed(config)
    name = table["DEFAULT"].get("node_id", "") or config.stem
    own = table[name] if name in table else table["DEFAULT"]
    crypto = _file(config, name, own.get("cryptokey", f"file#{name}.crypto"))
    seed = _file(config, name, own.get("ratchet", f"file#{name}.seed"))
    secrets = _unpacked(crypto, name)
    counter = _unpacked(seed, name)
    wrap = secrets[2] if len(secrets) == 5 else secrets[-1:] and secrets[-1]  # older ones have two parts
    if len(secrets) not in {2, 5} or not isinstance(wrap, bytes):
        raise _damaged(crypto, name)
    if len(counter) != 2 or not isinstance(counter[1], bytes):
        raise _damaged(seed, name)
    return Node(
        name, config, crypto, seed,
        _section(table, f"{name}-chains"), _section(table, f"{name}-allowlist"),
        wrap,
    )  # fmt: skip


def write_node(folder: Path, name: str, crypto: bytes, seed: bytes, chain: bytes, root: bytes) -> Path:
    """Write the files of a new node into its folder, all with mode 600; its configuration file.

    The allowlist has ``root`` and nothing else. Raises CipherError when there is something already, OSError.
    """
    try:
        folder.mkdir(mode=FOLDER_MODE, parents=True)
    except FileExistsError as error:
        raise CipherError(f"{folder} exists already; a node is made once. Choose another name.") from error
    write_secret(folder / f"{name}.crypto", crypto)
    write_secret(folder / f"{name}.seed", seed)
    config = folder / f"{name}.config"
    write_secret(config, _config(name, chain, root).encode("utf-8"))
    return config


def write_secret(path: Path, data: bytes) -> None:
    """A new file that only its owner reads, durable when this returns. Raises FileExistsError, OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, SECRETS_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace_secret(path: Path, data: bytes) -> None:
    """The same, in the place of a file that may be there, whole or not at all. Raises OSError."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    try:
        write_secret(fresh, data)
        fresh.replace(path)
        _sync_folder(path.parent)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; Windows has no such call."""
    if os.name == "nt":  # pragma: no cover - not run by the tests
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def readable_by_others(node: Node) -> Sequence[Path]:
    """The secret files of a node that somebody else than their owner may read (not on Windows)."""
    if os.name == "nt":  # pragma: no cover - not run by the tests
        return ()
    files = [each for each in (node.crypto, node.seed, node.keyring) if each.exists()]
    return [each for each in files if each.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]


def _config(name: str, chain: bytes, root: bytes) -> str:
    return f"""[DEFAULT]
node_id : {name}

[{name}]
mgmt_long_keyindex : True
cryptokey : file#{name}.crypto
ratchet : file#{name}.seed

[{name}-allowlist]
rot0 : base64#{_text(root)}

[{name}-denylist]

[{name}-chains]
chain0 : base64#{_text(chain)}

[{name}-crypto]
maxage : 86400

[{name}-kafka]

[{name}-kafka-crypto-consumer]
auto_offset_reset : earliest
"""


def _parsed(config: Path) -> configparser.ConfigParser:
    table = configparser.ConfigParser(delimiters=(":",), comment_prefixes=(";",), interpolation=None)
    table.optionxform = str  # type: ignore[assignment,method-assign] # names are kept as they are written
    try:
        table.read_string(config.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        raise CipherError(f"the configuration of a node, {config}, cannot be read: {error}") from error
    return table


def _section(table: configparser.ConfigParser, name: str) -> tuple[bytes, ...]:
    if name not in table:
        return ()
    shared = table.defaults()
    values = [value for key, value in table[name].items() if key not in shared]
    return tuple(data for data in map(_bytes, values) if data)


def _bytes(text: str) -> bytes:
    if not text.startswith("base64#"):
        return b""
    try:
        return base64.b64decode(text.removeprefix("base64#"), validate=True)
    except binascii.Error:
        return b""


def _file(config: Path, name: str, written: str) -> Path:
    """The file that stands there as ``file#NAME``, relative to the configuration."""
    path = config.parent / written.removeprefix("file#")
    if not path.is_file():
        raise CipherError(
            f"the file {path} of the node {name} is missing, and the library would make another in silence, with which "
            "nothing can be opened. Put it back, or make a new node with `openmsi crypto add`."
        )
    return path


def _unpacked(path: Path, name: str) -> Sequence[object]:
    try:
        found = msgpack.unpackb(path.read_bytes(), raw=True)
    except OSError as error:
        raise CipherError(f"{path} of the node {name} cannot be read: {error.strerror}") from error
    except (ValueError, msgpack.exceptions.UnpackException) as error:
        raise _damaged(path, name) from error
    if not isinstance(found, list):
        raise _damaged(path, name)
    return found


def _damaged(path: Path, name: str) -> CipherError:
    return CipherError(
        f"the file {path} of the node {name} is damaged. Put a good one back, or make a new node with "
        "`openmsi crypto add`."
    )


def _public(certificate: bytes) -> bytes:
    try:
        return public_of(certificate)
    except BadChain:
        return b""


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
