"""From the user's options to the clients' settings."""

from __future__ import annotations

import pytest

from openmsi_core.errors import SettingsError
from openmsi_core.kafka import config

MINE = {"bootstrap.servers": "b:1"}
PROFILES = {
    "upload": lambda options: config.upload_producer(options, chunk=512 * 1024),
    "outcome": config.outcome_producer,
    "checkpoint": lambda options: config.checkpoint_producer(options, "openmsi-1"),
    "consumer": lambda options: config.consumer(options, "g"),
    "reader": config.reader,
}
PROMISES = {
    "acks": "1",
    "request.required.acks": "1",
    "enable.idempotence": "false",
    "enable.auto.commit": "true",
    "enable.auto.offset.store": "true",
    "isolation.level": "read_uncommitted",
    "auto.offset.reset": "latest",
    "transactional.id": "x",
    "group.id": "x",
    "delivery_cb": "x",
}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", PROMISES)
def test_what_would_break_a_promise_is_refused_in_every_profile(profile, name) -> None:
    with pytest.raises(SettingsError, match=f"{name} cannot be set"):
        PROFILES[profile](MINE | {name: PROMISES[name]})


@pytest.mark.parametrize("profile", PROFILES)
def test_without_a_broker_nothing_is_built(profile) -> None:
    with pytest.raises(SettingsError, match="--broker"):
        PROFILES[profile]({})


@pytest.mark.parametrize("profile", PROFILES)
def test_the_users_own_values_win_over_ours(profile) -> None:
    mine = MINE | {"linger.ms": "77", "fetch.wait.max.ms": "88", "socket.timeout.ms": "99"}
    built = PROFILES[profile](mine)
    assert {built[name] for name in mine if name in built} == {value for name, value in mine.items() if name in built}
    assert built["socket.timeout.ms"] == "99"


def test_producers_keep_what_is_promised() -> None:
    for profile in ("upload", "outcome", "checkpoint"):
        built = PROFILES[profile](MINE)
        assert (built["enable.idempotence"], built["acks"]) == (True, "all")
    assert PROFILES["upload"](MINE)["message.timeout.ms"] == 0
    assert "message.timeout.ms" not in PROFILES["checkpoint"](MINE)
    assert PROFILES["upload"](MINE)["allow.auto.create.topics"] is False


def test_a_batch_stays_below_the_limit_of_an_untouched_broker() -> None:
    assert PROFILES["upload"](MINE)["batch.size"] < 1_048_588


def test_large_chunks_raise_the_clients_limit_and_a_limit_that_is_too_small_is_refused() -> None:
    assert config.upload_producer(MINE, chunk=8 << 20)["message.max.bytes"] >= 8 << 20
    with pytest.raises(SettingsError, match=r"message\.max\.bytes=1000 is too small"):
        config.upload_producer(MINE | {"message.max.bytes": "1000"}, chunk=512 * 1024)


def test_consumers_never_commit_by_themselves_and_read_committed() -> None:
    built = PROFILES["consumer"](MINE)
    assert (built["enable.auto.commit"], built["enable.auto.offset.store"]) == (False, False)
    assert (built["auto.offset.reset"], built["isolation.level"]) == ("error", "read_committed")
    assert built["fetch.queue.backoff.ms"] == 20


def test_the_new_group_protocol_gets_no_setting_that_it_refuses() -> None:
    built = config.consumer(MINE | {"group.protocol": "consumer"}, "g")
    assert not {"session.timeout.ms", "partition.assignment.strategy", "heartbeat.interval.ms"} & set(built)


def test_an_alias_given_twice_is_refused() -> None:
    with pytest.raises(SettingsError, match="another name of"):
        config.checked(MINE | {"metadata.broker.list": "c:1"})
