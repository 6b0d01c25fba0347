"""A real Apache Kafka for tests: fetched once through Maven, started in two seconds, ended with the test.

Java 17 and Maven must be there. The jars (43 MB) are kept in the user's cache folder.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from openmsi_core.errors import BrokerUnreachable
from openmsi_core.kafka.embedded import wait_answering
from openmsi_core.kafka.process import BrokerProcess, free_port

KAFKA_VERSION = "4.4.0"
LOG4J_VERSION = "2.25.5"
# For brokers that are killed: one that looks for abandoned transactions before it has registered itself again, which
# takes about a second, ends them without telling the partitions (see kafka/hanging.py). Kafka's own value is 10 s.
CALM = {"transaction.abort.timed.out.transaction.cleanup.interval.ms": "3000"}
STORE_PASSWORD = "openmsi-test"  # noqa: S105 - of a key store that lives as long as a test

_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"

_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>openmsi</groupId><artifactId>test-broker</artifactId><version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA_VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId>
      <version>{LOG4J_VERSION}</version>
    </dependency>
  </dependencies>
</project>
"""

_LOGGING = """<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="ERROR"><Appenders><Console name="out"><PatternLayout pattern="%d %p %m (%c)%n"/></Console>
</Appenders><Loggers><Root level="WARN"><AppenderRef ref="out"/></Root></Loggers></Configuration>
"""


def why_not() -> str | None:
    """Why a real Kafka cannot run here, or None when it can."""
    missing = [program for program in ("java", "mvn", "keytool") if shutil.which(program) is None]
    return f"{', '.join(missing)} not found (Java 17 and Maven are needed)" if missing else None


def cache_folder() -> Path:
    """Where the jars are kept: ``$XDG_CACHE_HOME/openmsi/kafka-VERSION``, by default below ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "openmsi" / f"kafka-{KAFKA_VERSION}"


def jars() -> Path:
    """The folder with Kafka's jars, fetched through Maven when it is not there yet (about ten seconds)."""
    folder = cache_folder()
    ready = folder / "lib"
    if ready.is_dir():
        return ready
    folder.mkdir(parents=True, exist_ok=True)
    work = folder / f"fetching-{os.getpid()}"
    work.mkdir()
    (work / "pom.xml").write_text(_POM)
    (work / "log4j2.xml").write_text(_LOGGING)
    command = ["mvn", "-q", "-B", _COPY, "-DincludeScope=runtime", f"-DoutputDirectory={work / 'lib'}"]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    if done.returncode != 0:
        raise BrokerUnreachable(f"Maven could not fetch Kafka {KAFKA_VERSION}: {(done.stdout + done.stderr)[-800:]}")
    (work / "log4j2.xml").rename(work / "lib" / "log4j2.xml")
    try:
        (work / "lib").rename(ready)
    except OSError:
        if not ready.is_dir():  # else another process was quicker: its jars are as good
            raise
    shutil.rmtree(work)
    return ready


class RealKafka:
    """One node of Apache Kafka (KRaft) in ``folder``, with the test settings of the design's delivery page.

    ``secure=True`` adds a listener with SASL/SCRAM-SHA-512 (users alice and bob), one with TLS, and access
    control: on the plain and the TLS listener everything is allowed, alice and bob have the rights you give.

    >>> with RealKafka(folder) as kafka:          # doctest: +SKIP
    ...     print(kafka.bootstrap)
    """

    USERS = {"alice": "alice-secret", "bob": "bob-secret"}  # noqa: RUF012 - read only

    def __init__(self, folder: Path, *, secure: bool = False, settings: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.secure = secure
        self.port, self.sasl_port, self.tls_port, self._control = (free_port() for _ in range(4))
        self._settings = settings or {}
        self._process: BrokerProcess | None = None

    @property
    def bootstrap(self) -> str:
        """The plain listener, where everything is allowed."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process id of the broker."""
        return self._process.pid if self._process else 0

    def plain(self) -> dict[str, str]:
        """Options for a client on the plain listener."""
        return {"bootstrap.servers": self.bootstrap}

    def as_user(self, name: str, password: str | None = None) -> dict[str, str]:
        """Options for a client that logs in with SASL/SCRAM."""
        return {
            "bootstrap.servers": f"127.0.0.1:{self.sasl_port}",
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanisms": "SCRAM-SHA-512",
            "sasl.username": name,
            "sasl.password": self.USERS[name] if password is None else password,
        }

    def with_tls(self, ca: Path | None = None) -> dict[str, str]:
        """Options for a client on the TLS listener; ``ca`` is whom it trusts, by default the right one."""
        return {
            "bootstrap.servers": f"127.0.0.1:{self.tls_port}",
            "security.protocol": "SSL",
            "ssl.ca.location": str(ca or self.folder / "broker.pem"),
        }

    def start(self) -> None:
        """Format the folder if it is new, start the broker and wait until it answers. Raises BrokerUnreachable."""
        if not (self.folder / "server.properties").exists():
            self._format()
        command = [*_java(), "kafka.Kafka", str(self.folder / "server.properties")]
        self._process = BrokerProcess(command, self.folder / "broker.log")
        self._process.start()
        self._process.wait_listening(self.port, 120)
        wait_answering(self.bootstrap, 60)

    def stop(self) -> None:
        """SIGTERM, and wait; the data stay."""
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        """SIGKILL, as a power cut for the process; the data stay and `start` continues with them."""
        if self._process is not None:
            self._process.kill()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _format(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.secure:
            make_certificate(self.folder, "broker")
        properties = self.folder / "server.properties"
        properties.write_text("".join(f"{name}={value}\n" for name, value in self._properties().items()))
        # a first byte of 0, because an id that begins with a dash is taken for an option
        cluster = base64.urlsafe_b64encode(bytes(1) + os.urandom(15)).decode().rstrip("=")
        command = [*_java(), "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties), "--standalone"]
        if self.secure:
            for name, password in self.USERS.items():
                command += ["--add-scram", f"SCRAM-SHA-512=[name={name},password={password}]"]
        _run(command)

    def _properties(self) -> dict[str, str]:
        listeners = {"PLAINTEXT": self.port} | ({"SASL": self.sasl_port, "TLS": self.tls_port} if self.secure else {})
        spelled = [f"{name}://127.0.0.1:{port}" for name, port in listeners.items()]
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{self._control}",
            "listeners": ",".join([*spelled, f"CONTROLLER://127.0.0.1:{self._control}"]),
            "advertised.listeners": ",".join(spelled),
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL",
            "inter.broker.listener.name": "PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(self.folder / "data"),
            **_TEST_SETTINGS,
            **(self._security() if self.secure else {}),
            **self._settings,
        }

    def _security(self) -> dict[str, str]:
        return {
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.sasl.scram-sha-512.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
            "listener.name.tls.ssl.keystore.location": str(self.folder / "broker.p12"),
            "listener.name.tls.ssl.keystore.type": "PKCS12",
            "listener.name.tls.ssl.keystore.password": STORE_PASSWORD,
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }


_TEST_SETTINGS = {
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "500",
    "group.consumer.min.session.timeout.ms": "500",
    "group.consumer.min.heartbeat.interval.ms": "100",
    "group.consumer.session.timeout.ms": "1500",
    "group.consumer.heartbeat.interval.ms": "300",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "200",
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
}


def make_certificate(folder: Path, name: str) -> Path:
    """A self-signed certificate for 127.0.0.1: ``name.p12`` for the broker; answers ``name.pem`` for clients."""
    store = ["-keystore", str(folder / f"{name}.p12"), "-storetype", "PKCS12", "-storepass", STORE_PASSWORD]
    who = ["-alias", name, "-dname", f"CN={name}", "-ext", "SAN=ip:127.0.0.1,dns:localhost", "-ext", "bc:c"]
    _run(["keytool", "-genkeypair", "-keyalg", "EC", "-groupname", "secp256r1", "-validity", "30", *who, *store])
    pem = folder / f"{name}.pem"
    _run(["keytool", "-exportcert", "-rfc", "-alias", name, "-file", str(pem), *store])
    return pem


def _java() -> list[str]:
    lib = jars()
    shared = lib.parent / "kafka.jsa"
    return ["java", "-Xmx512m", "-XX:+UseSerialGC", "-Xshare:auto", *_archive(shared), "-cp", f"{lib}{os.sep}*"]


def _archive(shared: Path) -> list[str]:
    return [f"-XX:SharedArchiveFile={shared}"] if shared.exists() else []


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    if done.returncode != 0:
        raise BrokerUnreachable(f"{command[0]} failed: {(done.stdout + done.stderr)[-800:]}")
