"""The Kafka room on librdkafka's mock cluster: what no healthy broker does, in milliseconds."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Iterator, Mapping

import pytest

from openmsi_core.errors import BrokerError, BrokerUnreachable, SettingsError, TopicError
from openmsi_core.kafka import mock as mocks
from openmsi_core.kafka.checkpoint import AtLeastOnce
from openmsi_core.kafka.consumer import TopicConsumer
from openmsi_core.kafka.mock import MockCluster, mock
from openmsi_core.kafka.process import free_port
from openmsi_core.kafka.producer import TopicProducer
from openmsi_core.kafka.reading import read
from openmsi_core.kafka.transaction import Transactional
from openmsi_core.model import Commit, Outgoing
from tests.kafka.listening import Listening, fill, taken

REBALANCE_IN_PROGRESS, NOT_LEADER = 27, 6


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    with mock() as running:
        running.create("T", 2)
        running.create("T.receipts", 1)
        yield running


@pytest.fixture
def options(cluster) -> Mapping[str, str]:
    return {"bootstrap.servers": cluster.bootstrap}


def test_it_is_up_in_no_time() -> None:
    began = time.monotonic()
    with mock(3) as running:
        assert running.bootstrap.count("127.0.0.1:") == 3
    assert time.monotonic() - began < 2


def test_records_come_out_as_they_went_in(options) -> None:
    fill(options, "T", 10)
    listening = Listening()
    with TopicConsumer(options, "T", "g", listening) as consumer:
        records = taken([consumer], lambda records: len(records) == 10)
        assert consumer.positions() == {0: 5, 1: 5}
    assert sorted(record.value for record in records) == [b"v%d" % number for number in range(10)]
    assert {record.key for record in records} == {b"k"}
    assert all(record.timestamp_ms > 1_600_000_000_000 for record in records)
    assert sorted(record.value for record in read(options, "T")) == sorted(record.value for record in records)


def test_empty_values_and_keys_are_told_apart_from_records(options, cluster) -> None:
    with TopicProducer(options, "T", chunk=65536) as producer:
        producer.produce(0, b"", b"", lambda *_: None)
        while producer.pending():
            producer.serve(0.1)
    (record,) = read(options, "T")
    assert (record.position.offset, record.value or b"") == (0, b"")


def test_nobody_at_the_address_is_told_within_the_deadline_and_stderr_stays_silent(capfd) -> None:
    absent, began = {"bootstrap.servers": f"127.0.0.1:{free_port()}"}, time.monotonic()
    with pytest.raises(BrokerUnreachable, match="no broker answers at 127"):
        TopicProducer(absent, "T", chunk=65536, connect=2.0).__enter__()
    with pytest.raises(BrokerUnreachable, match="Connection refused"):
        TopicConsumer(absent, "T", "g", Listening(), connect=2.0).__enter__()
    assert time.monotonic() - began < 8
    assert capfd.readouterr() == ("", "")


def test_a_name_that_no_resolver_knows_is_told() -> None:
    with pytest.raises(BrokerUnreachable, match=r"no\.such\.host\.invalid"):
        TopicProducer({"bootstrap.servers": "no.such.host.invalid:9092"}, "T", chunk=65536, connect=1.0).__enter__()


def test_a_broker_far_away_is_waited_for(cluster, options) -> None:
    cluster.round_trip(600)  # longer than one second until the first answer
    with TopicProducer(options, "T", chunk=65536) as producer:
        assert producer.partitions() == 2


def test_a_missing_topic_is_told_and_is_not_made_by_asking(cluster, options) -> None:
    for _ in range(2):
        with pytest.raises(TopicError, match="openmsi topics create nope --partitions 4"):
            TopicProducer(options, "nope", chunk=65536).__enter__()
        with pytest.raises(TopicError, match="openmsi topics create nope --partitions 4"):
            TopicConsumer(options, "nope", "g", Listening()).__enter__()


def test_a_misspelt_option_is_told_with_the_right_one_and_a_wrong_value_with_its_name(options) -> None:
    with pytest.raises(SettingsError, match=r"no Kafka option batchsize: did you mean batch\.size\?"):
        TopicProducer(dict(options) | {"batchsize": "1"}, "T", chunk=65536).__enter__()
    with pytest.raises(SettingsError, match=r'"fetch\.wait\.max\.ms"'):
        TopicConsumer(dict(options) | {"fetch.wait.max.ms": "soon"}, "T", "g", Listening()).__enter__()


def test_options_of_the_other_kind_of_client_do_no_harm_and_print_nothing(options, capfd) -> None:
    mixed = dict(options) | {
        "linger.ms": "1",
        "fetch.wait.max.ms": "10",
        "session.timeout.ms": "9000",
        "batch.size": "9999",
    }
    fill(mixed, "T", 2)
    with TopicConsumer(mixed, "T", "g", Listening()) as consumer:
        taken([consumer], lambda records: len(records) == 2)
    assert len(list(read(mixed | {"group.protocol": "classic"}, "T"))) == 2
    assert capfd.readouterr() == ("", "")


def test_what_is_sent_while_the_broker_is_away_arrives_when_it_is_back_once_each(cluster, options) -> None:
    with TopicProducer(options, "T", chunk=65536) as producer:
        cluster.down()
        answers: list[tuple[int | None, str]] = []
        for number in range(50):
            producer.produce(0, b"k", b"v%d" % number, lambda *told: answers.append(told))
        assert producer.serve(0.5) == 0 or not answers
        cluster.up()
        ends = time.monotonic() + 20
        while producer.pending():
            producer.serve(0.1)
            assert time.monotonic() < ends
    assert [offset for offset, _ in answers] == list(range(50))
    assert [record.value for record in read(options, "T")] == [b"v%d" % number for number in range(50)]


def test_retriable_errors_of_produce_requests_are_not_seen(cluster, options) -> None:
    cluster.fail(mocks.PRODUCE, [NOT_LEADER] * 3)
    fill(options, "T", 20)
    assert len(list(read(options, "T"))) == 20


def test_a_full_queue_makes_produce_wait_and_serve_the_answers(options) -> None:
    small = dict(options) | {"queue.buffering.max.messages": "10"}
    answers: list[int | None] = []
    with TopicProducer(small, "T", chunk=65536) as producer:
        for number in range(500):
            producer.produce(0, b"k", b"%d" % number, lambda offset, _: answers.append(offset))
            assert producer.pending() <= 10
        while producer.pending():
            producer.serve(0.1)
    assert answers == list(range(500))


def test_a_record_that_no_client_would_send_is_told_to_its_own_callback(options) -> None:
    answers: list[tuple[int | None, str]] = []
    with TopicProducer(options, "T", chunk=65536) as producer:
        producer.produce(0, b"k", bytes(5_000_000), lambda *told: answers.append(told))
        producer.produce(0, b"k", b"small", lambda *told: answers.append(told))
        while producer.pending():
            producer.serve(0.1)
    assert [offset for offset, _ in answers] == [None, 0]
    assert "too large" in answers[0][1]


def test_a_commit_lost_to_a_rebalance_is_no_error_and_says_so_at_info(cluster, options, caplog) -> None:
    listening = Listening()
    with TopicConsumer(options, "T", "g", listening) as consumer:
        taken([consumer], lambda _: len(listening.claims) == 2)
        assert consumer.commit([Commit(0, 0, "kept")]) is True
        cluster.fail(mocks.OFFSET_COMMIT, [REBALANCE_IN_PROGRESS])
        with caplog.at_level(logging.INFO):
            assert consumer.commit([Commit(0, 1, "lost")]) is False
        assert [record.levelname for record in caplog.records if "after a rebalance" in record.message] == ["INFO"]
        again = {each.partition: (each.offset, each.metadata) for each in consumer.committed()}
    assert again[0] == (0, "kept")


@pytest.mark.parametrize("kind", [AtLeastOnce, Transactional])
def test_a_checkpoint_while_the_broker_is_away_fails_in_time_when_we_stop_and_nothing_counts_as_written(
    cluster, options, kind
) -> None:
    listening, stopping = Listening(), threading.Event()
    outgoing = [Outgoing("T.receipts", b"k", b"receipt")]
    with (
        TopicConsumer(options, "T", "g", listening, is_stopping=stopping.is_set) as consumer,
        kind(options, consumer, is_stopping=stopping.is_set) as store,
    ):
        taken([consumer], lambda _: len(listening.claims) == 2)
        store.write(outgoing, [Commit(0, 0, "first")])
        cluster.down()
        stopping.set()
        began = time.monotonic()
        with pytest.raises(BrokerUnreachable):
            store.write(outgoing, [Commit(0, 0, "second")])
        assert time.monotonic() - began < 8
        cluster.up()
        for thread in threading.enumerate():
            if thread.name == "openmsi-commit":  # a call that librdkafka itself gives up after 15 s
                thread.join(20)
    again = Listening()
    with TopicConsumer(options, "T", "g", again) as consumer:
        taken([consumer], lambda _: 0 in again.claims)
        assert again.claims[0].metadata != "second"  # the mock keeps no metadata of a transaction


def test_a_commit_that_nobody_answers_does_not_hold_up_a_stop(cluster, options) -> None:
    listening, stopping = Listening(), threading.Event()
    with TopicConsumer(options, "T", "g", listening, is_stopping=stopping.is_set) as consumer:
        taken([consumer], lambda _: len(listening.claims) == 2)
        cluster.round_trip(30_000)
        stopping.set()
        began = time.monotonic()
        with pytest.raises(BrokerUnreachable, match="commit"):
            consumer.commit([Commit(0, 0, "m")])
        assert time.monotonic() - began < 6
        cluster.round_trip(0)
        cluster.down()  # the thread that waits for the answer ends with its connection
        time.sleep(0.2)  # time for librdkafka to notice
        cluster.up()


def test_where_retention_was_faster_the_partition_is_claimed_once_more_and_reading_goes_on(cluster, options) -> None:
    fill(options, "T", 10)
    cluster.cut("T", 0, 3)

    class Mistaken(Listening):
        def assigned(self, claims):
            starts = super().assigned(claims)
            return {each.partition: starts[each.partition] if each.is_refused else 1 for each in claims}

    listening = Mistaken()
    with TopicConsumer(options, "T", "g", listening) as consumer:
        records = taken([consumer], lambda records: {0, 1} == {each.position.partition for each in records})
        first = next(each.position.offset for each in records if each.position.partition == 0)
        assert (first, listening.claims[0].low, listening.claims[0].is_refused) == (3, 3, True)


def test_a_broker_that_refuses_every_offset_is_told_with_topic_and_partition(cluster, options) -> None:
    fill(options, "T", 10)
    cluster.cut("T", 0, 3)

    class Stubborn(Listening):
        def assigned(self, claims):
            super().assigned(claims)
            return dict.fromkeys(self.claims, 1)

    listening = Stubborn()
    with TopicConsumer(options, "T", "g", listening) as consumer:
        with pytest.raises(BrokerError, match=re.escape("refuses every offset of T[0]")):
            taken([consumer], lambda _: False)
        assert listening.claims[0].low == 3


def test_a_failure_of_the_listener_comes_out_of_poll(options) -> None:
    class Failing(Listening):
        def assigned(self, claims):
            raise ZeroDivisionError("the listener failed")

    with TopicConsumer(options, "T", "g", Failing()) as consumer, pytest.raises(ZeroDivisionError):
        taken([consumer], lambda _: False)


def test_pause_holds_records_back_and_resume_and_seek_bring_them(options) -> None:
    fill(options, "T", 4)
    listening = Listening()
    with TopicConsumer(options, "T", "g", listening) as consumer:
        taken([consumer], lambda records: len(records) == 4)
        consumer.pause()
        fill(options, "T", 2)
        assert consumer.poll(0.5) is None
        consumer.resume()
        assert len(taken([consumer], lambda records: len(records) == 2)) == 2
