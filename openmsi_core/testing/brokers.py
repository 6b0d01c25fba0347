"""A real Apache Kafka for tests: fetched once through Maven, started in two seconds, stopped by its process id."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from openmsi_core.files.locks import FileLock
from openmsi_core.kafka.embedded import answers, free_port

KAFKA = "4.4.0"
_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>openmsi</groupId><artifactId>test-broker</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA}</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId>
      <version>2.25.5</version></dependency>
  </dependencies>
</project>
"""
_START_SECONDS = 60.0


def missing() -> str:
    """What this machine lacks for a real Kafka, "" if nothing."""
    return " and ".join(program for program in ("java", "mvn") if shutil.which(program) is None)


def jars() -> Path:
    """The folder with Kafka's jars; fetched through Maven at the first call. Raises subprocess.CalledProcessError."""
    folder = Path(platformdirs.user_cache_dir("openmsi")) / f"kafka-{KAFKA}"
    done = folder / "complete"
    folder.mkdir(parents=True, exist_ok=True)
    while not done.exists():
        try:
            with FileLock(folder / "lock"):
                if not done.exists():
                    _fetch(folder)
                    done.touch()
        except BlockingIOError:
            time.sleep(0.5)  # another process fetches them; its end has no event to wait for
    return folder / "lib"


def _fetch(folder: Path) -> None:
    (folder / "pom.xml").write_text(_POM, "utf-8")
    subprocess.run(  # noqa: S603 - fixed arguments
        ["mvn", "-q", "-B", "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies",  # noqa: S607
         "-DincludeScope=runtime", f"-DoutputDirectory={folder / 'lib'}"],
        cwd=folder,
        check=True,
        timeout=300,
    )  # fmt: skip


@dataclass(slots=True)
class RealKafka:
    """One node, broker and controller in one. ``settings`` are added to its server.properties.

    ``listener`` is the protocol of the port clients use: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL. ``users`` are
    SCRAM-SHA-512 names and passwords.
    """

    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    listener: str = "PLAINTEXT"
    users: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    plain_port: int = field(default_factory=free_port)
    controller: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where clients go."""
        return f"127.0.0.1:{self.port}"

    @property
    def plain_address(self) -> str:
        """A second listener without encryption or passwords, for the tests' own use."""
        return f"127.0.0.1:{self.plain_port}"

    def format(self) -> None:
        """Write the configuration and prepare the log folder; once, before the first start."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = [f"{key}={value}" for key, value in (self._settings() | dict(self.settings)).items()]
        self._properties.write_text("\n".join(lines) + "\n", "utf-8")
        cluster = base64.urlsafe_b64encode(os.urandom(16)).decode("ascii").rstrip("=").replace("-", "A")
        users = [
            text
            for name, password in self.users.items()
            for text in ("--add-scram", f"SCRAM-SHA-512=[name={name},password={password}]")
        ]
        self._java(
            "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self._properties), "--standalone", *users
        )

    def start(self) -> None:
        """Start it and wait until it answers."""
        out = (self.folder / "broker.log").open("ab")
        with out:
            self.process = subprocess.Popen(  # noqa: S603 - our own command line
                [*self._command, "kafka.Kafka", str(self._properties)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=True,
            )
        ends = time.monotonic() + _START_SECONDS
        while not answers(self.plain_address):
            if self.process.poll() is not None or time.monotonic() > ends:
                tail = (self.folder / "broker.log").read_text("utf-8", "replace")[-3000:]
                raise RuntimeError(f"Kafka did not start in {self.folder}:\n{tail}")

    def stop(self, *, kill: bool = False) -> None:
        """Stop it: SIGTERM, or ``kill`` -9. Its data stay, so it may be started again."""
        if self.process is None:
            return
        if kill:
            self.process.kill()
        else:
            self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self.process = None

    @property
    def _properties(self) -> Path:
        return self.folder / "server.properties"

    @property
    def _command(self) -> list[str]:
        return ["java", "-Xmx512m", "-XX:+UseSerialGC", "-cp", f"{jars()}/*"]

    def _java(self, *arguments: str) -> None:
        done = subprocess.run(  # noqa: S603 - our own command line
            [*self._command, *arguments], capture_output=True, text=True, timeout=60, cwd=self.folder, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"{arguments[0]} failed:\n{done.stdout}\n{done.stderr}")

    def _settings(self) -> dict[str, str]:
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{self.controller}",
            "listeners": f"CLIENTS://127.0.0.1:{self.port},PLAIN://127.0.0.1:{self.plain_port},"
            f"CONTROLLER://127.0.0.1:{self.controller}",
            "advertised.listeners": f"CLIENTS://{self.address},PLAIN://{self.plain_address}",
            "listener.security.protocol.map": f"CLIENTS:{self.listener},PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAIN",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(self.folder / "data"),
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "500",
            "group.consumer.min.session.timeout.ms": "500",
            "transaction.abort.timed.out.transaction.cleanup.interval.ms": "200",
            "offsets.topic.num.partitions": "5",
            "transaction.state.log.num.partitions": "5",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
        } | self._security()

    def _security(self) -> dict[str, str]:
        if not self.users:
            return {}
        prefix = "listener.name.clients.scram-sha-512.sasl.jaas.config"
        return {
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            prefix: "org.apache.kafka.common.security.scram.ScramLoginModule required;",
        }


@contextmanager
def real_kafka(folder: Path, **choices: object) -> Iterator[RealKafka]:
    """A running real Kafka in ``folder``; ``choices`` are RealKafka's."""
    kafka = RealKafka(folder, **choices)  # type: ignore[arg-type] # passed through
    kafka.format()
    kafka.start()
    try:
        yield kafka
    finally:
        kafka.stop()
