"""The container, without an engine: its RUN lines are executed in a folder of this machine, in their order."""

from __future__ import annotations

import http.server
import json
import os
import re
import shlex
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

from openmsi_core.cli import COMMANDS, openmsi
from openmsi_core.kafka.process import free_port

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "container" / "Dockerfile").read_text("utf-8")


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE))
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in text.splitlines() if line)]


class Build:
    """Executes instructions with /src, /opt and /state below ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root
        (root / "bin").mkdir(parents=True)
        (root / "bin" / "python").symlink_to(sys.executable)
        (root / "etc").mkdir()
        for name in ("passwd", "group", "shadow", "gshadow"):
            (root / "etc" / name).touch()

    def there(self, text: str) -> str:
        return re.sub(r"(?<![\w/.])/(src|opt|state|etc)\b", rf"{self.root}/\1", text)

    def run(self, line: str) -> None:
        line = self.there(line.replace("useradd ", f"useradd --prefix {self.root} "))
        path = f"{self.root}/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        env = {"PATH": path, "HOME": str(self.root), **{k: v for k, v in os.environ.items() if k.startswith("PIP_")}}
        for name in ("XDG_CONFIG_HOME", "SSL_CERT_FILE", "https_proxy", "no_proxy"):
            env |= {name: os.environ[name]} if name in os.environ else {}
        done = subprocess.run(
            ["sh", "-ec", line], cwd=self.folder, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"

    def copy(self, words: str) -> None:
        *sources, target = [word for word in shlex.split(words) if not word.startswith("--from")]
        if "--from" in words:
            return  # from the stage before, which is the same folder here
        place = self.folder / self.there(target)
        for source in sources:
            assert (ROOT / source).exists(), f"COPY {source}: there is no such file"
            end = place / Path(source).name if target.endswith("/") else place
            end.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-r", str(ROOT / source), str(end)], check=True)


@pytest.mark.timeout(400)
@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="the image's account is made by root")
def test_the_images_steps_make_something_that_runs(tmp_path) -> None:
    build = Build(tmp_path / "image")
    stages = 0
    for word, rest in instructions():
        if word == "FROM":
            stages += 1
            build.folder = build.root
        elif word == "WORKDIR":
            build.folder = Path(build.there(rest))
            build.folder.mkdir(parents=True, exist_ok=True)
        elif word == "COPY":
            build.copy(rest)
        elif word == "RUN":
            build.run(rest)
    assert stages == 2
    assert "openmsi:x:10001:" in (build.root / "etc" / "passwd").read_text()
    assert ((build.root / "state").stat().st_uid, (build.root / "state").stat().st_mode & 0o777) == (10001, 0o750)
    entry = json.loads(dict(instructions())["ENTRYPOINT"])
    program = build.root / "opt" / "openmsi" / "bin" / entry[0]
    done = subprocess.run([program, "plugins", "--json"], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert '"disk"' in done.stdout
    assert '"file-info"' in done.stdout


def test_the_health_check_says_what_healthz_says() -> None:
    status = [200]

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status[0])
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None: ...

    def check(port: int) -> int:
        environment = {**os.environ, "OPENMSI_HEALTH_PORT": str(port)}
        script = str(ROOT / "container" / "healthy.py")
        return subprocess.run([sys.executable, script], env=environment, capture_output=True, check=False).returncode

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            assert check(server.server_port) == 0
            status[0] = 503
            assert check(server.server_port) == 1
        finally:
            server.shutdown()
            thread.join()
    assert check(free_port()) == 0


def services() -> dict[str, dict]:
    return yaml.safe_load((ROOT / "container" / "compose.yaml").read_text("utf-8"))["services"]


@pytest.mark.parametrize("name", sorted(set(services()) - {"kafka"}))
def test_the_compose_files_commands_exist_with_their_flags(name) -> None:
    one = services()[name]
    words = one["command"]
    assert all(isinstance(word, str) for word in words)
    command = openmsi.get_command(None, words[0])  # type: ignore[arg-type]
    assert words[0] in COMMANDS
    if words[0] == "topics":
        command = command.commands[words[1]]  # type: ignore[union-attr]
    flags = {flag for parameter in command.params for flag in parameter.opts}  # type: ignore[union-attr]
    assert {word for word in words if word.startswith("--")} <= flags | {"--folder"}
    assert set(one["depends_on"]) <= set(services())
    assert one["build"]["dockerfile"] == "container/Dockerfile"


def test_a_release_is_published_without_a_token_and_only_from_a_tag() -> None:
    release = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8"))
    assert release[True] == {"push": {"tags": ["v*"]}}  # YAML reads `on` as true
    publish = release["jobs"]["publish"]
    assert publish["permissions"] == {"id-token": "write"}
    assert "secrets." not in json.dumps(release)


def test_the_constraints_fit_the_lower_bounds() -> None:
    import tomllib

    from packaging.requirements import Requirement

    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()[1:]
    pinned = {name.lower().replace("_", "-"): version for name, _, version in (line.partition("==") for line in lines)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for text in [*project["dependencies"], *project["optional-dependencies"]["local"]]:
        requirement = Requirement(text)
        version = pinned.get(requirement.name.lower())
        assert version is not None, f"{text}: `make constraints` writes them anew"
        assert requirement.specifier.contains(version), f"{text}: `make constraints` writes them anew"
