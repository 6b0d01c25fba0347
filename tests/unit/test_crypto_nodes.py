"""Nodes: made without questions, checked before they are used, never two at once, never a copy."""

from __future__ import annotations

import os
import shutil
import stat
import time

import msgpack
import pytest

from openmsi_core.crypto.certificates import BadChain, Role, listed, rights_of, root_certificate, until, why_not
from openmsi_core.crypto.nodes import config_of, node_at, replace_secret, write_secret
from openmsi_core.crypto.provisioning import add_node, make_root, nodes_in, problems_of
from openmsi_core.crypto.residence import adopt, residing
from openmsi_core.errors import CipherError
from tests.crypto_fakes import make_node, need_library

DAY = 24 * 3600.0


def test_a_node_allows_what_its_role_says_on_its_topics(tmp_path) -> None:
    now = time.time()
    nodes = {role: make_node(tmp_path, role, role).rights() for role in ("producer", "consumer", "both")}
    assert why_not(nodes["producer"], ["t"], [], now) == ""
    assert why_not(nodes["consumer"], [], ["t"], now) == ""
    assert why_not(nodes["both"], ["t"], ["t"], now) == ""
    assert "role of a consumer, only producer" in why_not(nodes["producer"], ["t"], ["t"], now)
    assert "role of a producer, only consumer" in why_not(nodes["consumer"], ["t"], [], now)
    assert "is for the topics t, not for other" in why_not(nodes["both"], ["other"], [], now)
    assert {role: rights.role for role, rights in nodes.items()} == {role: role for role in nodes}


def test_a_chain_ends_on_its_day_and_a_month_before_that_is_told(tmp_path) -> None:
    make_root(tmp_path)
    node = node_at(add_node(tmp_path, "n", Role.BOTH, ["t"], seconds=40 * DAY, now=1_000_000))
    rights = node.rights()
    assert why_not(rights, ["t"], [], 1_000_000 + 41 * DAY).startswith("its chain has expired (1970-")
    assert not list(problems_of(node, rights, 1_000_000 + 9 * DAY))
    assert "expires in 29 days" in "".join(problems_of(node, rights, 1_000_000 + 11 * DAY))
    assert "has expired" in "".join(problems_of(node, rights, 1_000_000 + 41 * DAY))
    assert (until(0), listed(None), listed(())) == ("without an end", "(any)", "(none)")


def test_patterns_match_a_whole_name_and_topics_stand_for_their_root(tmp_path) -> None:
    rights = make_node(tmp_path, topics=("^lab-.*", "xrd.raw")).rights()
    assert rights.topics == ("^lab-.*$", "xrd")
    assert [rights.covers(each) for each in ("lab-7", "xrd", "xlab-7", "xrd2")] == [True, True, False, False]


def test_a_chain_of_another_root_a_changed_one_and_none_are_told_apart(tmp_path) -> None:
    node, other = make_node(tmp_path / "a"), make_node(tmp_path / "b")
    with pytest.raises(BadChain, match="not signed by a root of trust"):
        rights_of(node.chains[0], other.allowlist)
    changed = node.chains[0][:-1] + bytes([node.chains[0][-1] ^ 1])
    with pytest.raises(BadChain, match="not signed by a root of trust"):
        rights_of(changed, node.allowlist)
    for bad in (b"", b"\xc1", msgpack.packb([1]), msgpack.packb([])):
        with pytest.raises(BadChain):
            rights_of(bad, node.allowlist)
    with pytest.raises(BadChain, match="no root of trust"):
        rights_of(node.chains[0], ())


def test_the_library_takes_our_chains_for_what_they_are(tmp_path) -> None:
    need_library()
    from kafkacrypto.chain import process_chain
    from nacl.signing import SigningKey

    node = make_node(tmp_path, role="consumer", topics=("^lab-.*", "xrd"))
    own = SigningKey(msgpack.unpackb(node.crypto.read_bytes())[1][0][:32])

    def request(topic: str, usage: str) -> bytes:
        """What the exchange sends: the chain, and one link more that is signed by the node itself."""
        poison = msgpack.packb([["topics", [topic]], ["usages", [usage]]])
        leaf = own.sign(msgpack.packb([0, poison, bytes(32), b"random"]))
        return msgpack.packb([*msgpack.unpackb(node.chains[0]), bytes(leaf)])

    for topic in ("xrd", "lab-1"):
        asks = request(topic, "key-encrypt-request")
        process_chain(asks, topic, "key-encrypt-request", allowlist=list(node.allowlist))
    for topic, usage in (("xrd", "key-encrypt"), ("other", "key-encrypt-request"), ("xlab-1", "key-encrypt-request")):
        with pytest.raises(ValueError, match=r"No matching (topic|usage)"):
            process_chain(request(topic, usage), topic, usage, allowlist=list(node.allowlist))


def test_files_are_readable_by_their_owner_alone_and_the_allowlist_has_our_root_alone(tmp_path) -> None:
    node = make_node(tmp_path)
    files = [tmp_path / "root.key", node.config, node.crypto, node.seed]
    assert {stat.S_IMODE(each.stat().st_mode) for each in files} == {0o600}
    assert stat.S_IMODE(node.config.parent.stat().st_mode) == 0o700
    assert len(node.allowlist) == 1
    assert not node.trusts_everybody()
    node.crypto.chmod(0o644)
    assert "others can read" in "".join(problems_of(node, node.rights()))


def test_the_temporary_root_of_a_fresh_store_of_the_library_is_found(tmp_path) -> None:
    node = make_node(tmp_path)
    published = root_certificate(bytes.fromhex("1a13b0aecdd6751c7dfa43e43284326ad01dbc20a8a00b1566092ab0a542620f"))
    text = node.config.read_text()
    import base64

    line = f"temporary : base64#{base64.b64encode(published).decode()}\n"
    node.config.write_text(text.replace("[n-allowlist]\n", f"[n-allowlist]\n{line}"))
    found = node_at(node.config)
    assert found.trusts_everybody()
    assert "whose secret is published" in "".join(problems_of(found, found.rights()))


def test_nodes_and_roots_are_made_once_and_only_with_a_root(tmp_path) -> None:
    with pytest.raises(CipherError, match="no root of trust"):
        add_node(tmp_path, "n", Role.BOTH, ["t"])
    make_node(tmp_path)
    with pytest.raises(CipherError, match="exists already"):
        make_root(tmp_path)
    with pytest.raises(CipherError, match="exists already; a node is made once"):
        make_node(tmp_path)
    with pytest.raises(CipherError, match="no name for a node"):
        make_node(tmp_path, "../n")
    with pytest.raises(CipherError, match="for which topics"):
        make_node(tmp_path, "m", topics=())
    (tmp_path / "root.key").write_bytes(b"x")
    with pytest.raises(CipherError, match="cannot be read"):
        make_node(tmp_path, "m")


def test_a_node_is_found_by_name_folder_and_file_or_told_where_it_was_looked_for(tmp_path) -> None:
    node = make_node(tmp_path)
    for place in ("n", tmp_path / "n", node.config):
        assert config_of(place, tmp_path) == node.config
    with pytest.raises(CipherError, match=r"there is no node m: neither m nor .*m is its folder"):
        config_of("m", tmp_path)


@pytest.mark.parametrize("name", ["n.crypto", "n.seed"])
def test_a_lost_or_damaged_file_stops_the_start_and_is_not_made_anew(tmp_path, name) -> None:
    node = make_node(tmp_path)
    path = node.config.with_name(name)
    path.write_bytes(b"\xc1")
    with pytest.raises(CipherError, match="is damaged"):
        node_at(node.config)
    path.write_bytes(msgpack.packb([1]))
    with pytest.raises(CipherError, match="is damaged"):
        node_at(node.config)
    path.unlink()
    with pytest.raises(CipherError, match=f"{name} of the node n is missing"):
        node_at(node.config)
    assert not path.exists()


def test_a_node_without_a_chain_or_a_readable_configuration_says_so(tmp_path) -> None:
    node = make_node(tmp_path)
    text = node.config.read_text()
    node.config.write_text(text.replace("chain0", "; chain0"))
    with pytest.raises(CipherError, match="no chain that holds: it has none"):
        node_at(node.config).rights()
    node.config.write_text("no section\n")
    with pytest.raises(CipherError, match="cannot be read"):
        node_at(node.config)


def test_the_list_has_every_node_and_what_is_wrong_with_it(tmp_path) -> None:
    good, bad = make_node(tmp_path, "good"), make_node(tmp_path, "bad")
    bad.seed.unlink()
    found = {each.name: each for each in nodes_in(tmp_path)}
    assert (found["good"].problem, found["good"].rights) == ("", good.rights())
    assert "is missing" in found["bad"].problem
    assert not list(nodes_in(tmp_path / "nowhere"))


def test_one_process_uses_a_node_and_a_second_is_told_which(tmp_path) -> None:
    node = make_node(tmp_path)
    with residing(node):
        with pytest.raises(CipherError, match=f"in use by process {os.getpid()}"), residing(node):
            pass
        with pytest.raises(CipherError, match="in use"):
            adopt(node)
    with residing(node):  # it can be used again
        pass


def test_a_copied_restored_or_moved_node_is_refused_until_it_is_adopted(tmp_path) -> None:
    node = make_node(tmp_path)
    with residing(node):
        pass
    copy = tmp_path / "copy"
    shutil.copytree(node.config.parent, copy)
    copied = node_at(copy / "n.config")
    with pytest.raises(CipherError, match="was copied, or restored"), residing(copied):
        pass
    with pytest.raises(CipherError, match="lived on another machine"), residing(node, "elsewhere"):
        pass
    old = node.seed.read_bytes()
    node.seed.write_bytes(msgpack.packb([5, bytes(32)]))
    with residing(node):
        pass
    node.seed.write_bytes(old)
    with pytest.raises(CipherError, match="ratchet has gone back"), residing(node):
        pass
    adopt(copied)
    assert copied.seed.read_bytes() != node.seed.read_bytes()
    with residing(node_at(copied.config)):
        pass


def test_a_home_note_that_cannot_be_read_is_told(tmp_path) -> None:
    node = make_node(tmp_path)
    node.home.write_text("x")
    with pytest.raises(CipherError, match="cannot be read"), residing(node):
        pass


def test_a_secret_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch) -> None:
    path = tmp_path / "s"
    write_secret(path, b"old")
    with pytest.raises(FileExistsError):
        write_secret(path, b"other")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace_secret(path, b"new")
    assert [path.read_bytes(), sorted(os.listdir(tmp_path))] == [b"old", ["s"]]
