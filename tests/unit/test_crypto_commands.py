"""`openmsi crypto` and the settings of encryption, without a broker."""

from __future__ import annotations

import json
import logging

import pytest

from openmsi_core.cli import main
from openmsi_core.errors import SettingsError
from openmsi_core.settings import load
from openmsi_core.wiring import chosen
from openmsi_core.wiring.encrypting import UNENCRYPTED


def test_a_root_and_nodes_are_made_listed_and_adopted_without_a_question(tmp_path, capsys) -> None:
    keys = str(tmp_path / "keys")
    assert main(["crypto", "init", keys]) == 0
    said = capsys.readouterr()
    assert said.out.strip().endswith("root.key")
    assert "keep it offline" in said.err
    assert main(["crypto", "init", keys]) == 2
    for name, role in (("a", "both"), ("b", "consumer"), ("c", "controller")):
        assert (
            main(["crypto", "add", name, "--role", role, "--topic", "xrd.raw", "--folder", keys, "--valid", "1y"]) == 0
        )
    assert main(["crypto", "add", "d", "--role", "both", "--topic", "t", "--folder", keys, "--valid", "20d"]) == 0
    assert main(["crypto", "add", "e", "--role", "both", "--topic", "t", "--folder", keys, "--valid", "soon"]) == 2
    capsys.readouterr()
    assert main(["crypto", "list", "--folder", keys, "--json"]) == 4  # one of them expires soon
    listed = {each["node"]: each for each in map(json.loads, capsys.readouterr().out.splitlines())}
    assert {name: each["role"] for name, each in listed.items()} == {
        "a": "both", "b": "consumer", "c": "controller", "d": "both",
    }  # fmt: skip
    assert listed["a"]["topics"] == ["xrd"]
    assert listed["a"]["problem"] is None
    assert "expires in 19 days" in listed["d"]["problem"]
    assert main(["crypto", "list", "--folder", keys]) == 4
    assert "d  both  t  " in capsys.readouterr().out
    assert main(["crypto", "adopt", f"{keys}/a"]) == 0
    assert main(["crypto", "adopt", f"{keys}/nobody"]) == 2
    assert "there is no node" in capsys.readouterr().err


def test_a_controller_is_only_run_with_a_node_for_it(tmp_path, capsys) -> None:
    keys = str(tmp_path / "keys")
    main(["crypto", "init", keys])
    main(["crypto", "add", "b", "--role", "consumer", "--topic", "t", "--folder", keys])
    assert main(["crypto", "run-controller", f"{keys}/b", "--broker", "127.0.0.1:1"]) == 2
    assert "make one with --role controller" in capsys.readouterr().err
    logging.getLogger().handlers.clear()  # what the command configured


def test_the_table_of_the_configuration_is_the_choice_of_a_command(tmp_path) -> None:
    file = tmp_path / "openmsi.toml"
    file.write_text(
        '[crypto]\nfolder = "nodes"\nkeyring = "file"\naccept-plain = true\nserve-keys = "5min"\n'
        'unreadable-after = "2h"\n[run.disk]\ntopic = "t"\ncrypto = "archive"\n'
    )
    settings = load(file, environ={})
    choice = chosen(settings.crypto, settings.run["disk"].crypto)
    assert (choice.node, str(choice.nodes), choice.keeps_keys, choice.accepts_plain) == ("archive", "nodes", True, True)
    assert (choice.serve_seconds, choice.unreadable_seconds) == (300.0, 7200.0)
    assert chosen(load(None, environ={}).crypto, None).node == UNENCRYPTED.node == ""
    file.write_text('[crypto]\nkeyrin = "file"\n')
    with pytest.raises(SettingsError, match="did you mean 'keyring'"):
        load(file, environ={})
