"""A real S3 server for tests, and a proxy that breaks connections to it: both built once with Go, kept in the cache.

versitygw keeps its objects in a folder; toxiproxy stands between it and its clients. Go must be there; building takes
two to three minutes on a clean machine.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from openmsi_core.errors import BrokerUnreachable
from openmsi_core.kafka.process import BrokerProcess, free_port


@dataclass(frozen=True, slots=True)
class Program:
    """A program that Go builds: ``name`` as we call it, ``binary`` as Go does."""

    name: str
    package: str
    version: str
    binary: str


VERSITYGW = Program("versitygw", "github.com/versity/versitygw/cmd/versitygw", "1.8.0", "versitygw")
TOXIPROXY = Program("toxiproxy", "github.com/Shopify/toxiproxy/v2/cmd/server", "2.12.0", "server")


def why_not(*programs: Program) -> str | None:
    """Why there can be no S3 server here, or None when there can."""
    if all(_kept(program).is_file() for program in programs or (VERSITYGW, TOXIPROXY)):
        return None
    return None if shutil.which("go") else "go not found (Go 1.23 or newer is needed to build versitygw and toxiproxy)"


def built(program: Program) -> Path:
    """The program's file, built with Go when it is not kept yet. Raises BrokerUnreachable."""
    ready = _kept(program)
    if ready.is_file():
        return ready
    ready.parent.mkdir(parents=True, exist_ok=True)
    work = ready.parent / f"building-{os.getpid()}"
    command = ["go", "install", "-trimpath", "-ldflags=-s -w", f"{program.package}@v{program.version}"]
    settings = {"GOFLAGS": "-buildvcs=false -modcacherw", "CGO_ENABLED": "0", "GOBIN": str(work)}
    done = subprocess.run(  # noqa: S603 - our own command
        command, env=os.environ | settings, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BrokerUnreachable(f"Go could not build {program.name} {program.version}: {done.stderr[-800:]}")
    (work / program.binary).replace(ready)  # whole or not at all; another process' is as good
    shutil.rmtree(work)
    return ready


def _kept(program: Program) -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "openmsi" / f"{program.name}-{program.version}" / program.binary


class S3Server:
    """versitygw on ``folder``, which holds its objects, its users and its log.

    ``versioned=True``: buckets may keep versions. ``certificate``: a PEM file with key and certificate makes it speak
    TLS, see `make_certificate`. The root account has every right; `add_user` makes others, who have
    none until a bucket's policy gives them some.

    >>> with S3Server(folder) as server:          # doctest: +SKIP
    ...     server.add_bucket("archive")
    """

    ROOT = ("openmsi-root", "openmsi-root-secret")

    def __init__(self, folder: Path, *, versioned: bool = False, certificate: Path | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self._versioned = versioned
        self._certificate = certificate
        self._process: BrokerProcess | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http{'s' if self._certificate else ''}://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid if self._process else 0

    def environment(self, user: tuple[str, str] = ROOT) -> dict[str, str]:
        """Variables for a client that uses boto3's usual chain, and finds nothing else of this machine."""
        return {
            "AWS_ACCESS_KEY_ID": user[0],
            "AWS_SECRET_ACCESS_KEY": user[1],
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def add_bucket(self, name: str, owner: str = ROOT[0]) -> None:
        """Make a bucket. Raises BrokerUnreachable."""
        self._admin("create-bucket", "--bucket", name, "--owner", owner)

    def add_user(self, name: str, secret: str) -> None:
        """Make an account without rights. Raises BrokerUnreachable."""
        self._admin("create-user", "--access", name, "--secret", secret, "--role", "user")

    def start(self) -> None:
        """Start it and wait until it answers. Raises BrokerUnreachable."""
        for name in ("data", "iam", "versions"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        command = [str(built(VERSITYGW)), "--port", f"127.0.0.1:{self.port}", "--iam-dir", str(self.folder / "iam")]
        command += ["--iam-cache-disable", "--health", "/health", "--keep-alive", "--quiet"]
        command += ["--cert", str(self._certificate), "--key", str(self._certificate)] if self._certificate else []
        command += ["posix"]
        command += ["--versioning-dir", str(self.folder / "versions")] if self._versioned else []
        command += [str(self.folder / "data")]
        root = {"ROOT_ACCESS_KEY": self.ROOT[0], "ROOT_SECRET_KEY": self.ROOT[1]}
        self._process = BrokerProcess(command, self.folder / "server.log", root)
        self._process.start()
        self._process.wait_listening(self.port, 30)

    def stop(self) -> None:
        """SIGTERM, and wait; the objects stay."""
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        """SIGKILL; the objects stay and `start` goes on with them."""
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

    def _admin(self, *words: str) -> None:
        access, secret = self.ROOT
        command = [str(built(VERSITYGW)), "admin", "-a", access, "-s", secret, "--allow-insecure"]
        command += ["--endpoint-url", self.url, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
        if done.returncode != 0:
            raise BrokerUnreachable(f"versitygw admin {words[0]} failed: {(done.stdout + done.stderr)[-400:]}")


class FaultProxy:
    """toxiproxy in front of ``port`` of 127.0.0.1, until told otherwise without any fault.

    >>> with FaultProxy(folder, server.port) as proxy:          # doctest: +SKIP
    ...     proxy.poison("reset_peer", {"timeout": 0}, stream="upstream")
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.port, self._control = free_port(), free_port()
        self._target = port
        self._process = BrokerProcess(
            [str(built(TOXIPROXY)), "-host", "127.0.0.1", "-port", str(self._control)], folder / "proxy.log"
        )

    @property
    def url(self) -> str:
        """Where clients go."""
        return f"http://127.0.0.1:{self.port}"

    def poison(
        self, kind: str, attributes: Mapping[str, int], *, stream: str = "downstream", share: float = 1.0
    ) -> None:
        """Add a toxic to connections, old ones too: with the probability ``share``, drawn for each connection.

        ``stream`` is downstream for what the server answers. Kinds and attributes are toxiproxy's.
        """
        toxic = {"type": kind, "stream": stream, "toxicity": share, "attributes": dict(attributes)}
        self._ask("POST", "/proxies/s3/toxics", toxic)

    def heal(self) -> None:
        """Take every toxic away, and let connections through again."""
        self._ask("POST", "/reset")

    def cut(self) -> None:
        """Close every connection and take no new one, until `heal`."""
        self._ask("POST", "/proxies/s3", {"enabled": False})

    def __enter__(self) -> Self:
        try:
            self._process.start()
            self._process.wait_listening(self._control, 30)
            target = {"listen": f"127.0.0.1:{self.port}", "upstream": f"127.0.0.1:{self._target}"}
            self._ask("POST", "/proxies", {"name": "s3", "enabled": True} | target)
        except BaseException:
            self._process.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.stop()

    def _ask(self, method: str, path: str, body: object = None) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(f"http://127.0.0.1:{self._control}{path}", data, method=method)
        asked.add_header("Content-Type", "application/json")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through a proxy of the machine
        with opener.open(asked, timeout=10) as answer:
            answer.read()


def make_certificate(folder: Path) -> Path:
    """A self-signed certificate for 127.0.0.1 with its key, in one PEM file. By openssl. Raises BrokerUnreachable."""
    key, pem = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "30", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    done = subprocess.run(  # noqa: S603 - our own command
        [*command, "-keyout", str(key), "-out", str(pem)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BrokerUnreachable(f"openssl made no certificate: {done.stderr[-400:]}")
    both = folder / "server.pem"
    both.write_bytes(key.read_bytes() + pem.read_bytes())
    return both


def build_all(programs: Sequence[Program] = (VERSITYGW, TOXIPROXY)) -> None:
    """Build what is not kept yet, so that no test waits for it."""
    for program in programs:
        built(program)
