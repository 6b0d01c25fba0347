"""Services: what is written down, what is asked of each service manager, and what its failures say."""

from __future__ import annotations

import json
import os
import plistlib
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from openmsi_core.cli import main
from openmsi_core.errors import ServiceFailed, UsageError
from openmsi_core.services import Service, environment_in, refuse_name, services_of
from openmsi_core.services.hosting import Child, exit_code_for, interrupt_of_this_platform
from openmsi_core.services.launchd import Launchd
from openmsi_core.services.secrets import keep, written
from openmsi_core.services.shell import RealShell
from openmsi_core.services.systemd import Systemd
from openmsi_core.services.windows import Found, WindowsServices
from tests.kafka.processes import wait_for

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")


class FakeShell:
    """Notes commands; answers with what the test says."""

    def __init__(self, **answers: str) -> None:
        self.said: list[tuple[str, ...]] = []
        self.answers = {"systemctl --version": "systemd 252 (252)\n", "getent passwd openmsi": "openmsi:x:1"} | answers
        self.failing: set[str] = set()
        self.code = 0

    def run(self, *command: str, may_fail: bool = False) -> str:
        self.said.append(command)
        line = " ".join(command)
        if any(each in line for each in self.failing) and not may_fail:
            raise ServiceFailed(f"`{line}` ended with exit code 1: no")
        return next((answer for key, answer in self.answers.items() if key in line), "")

    def show(self, *command: str) -> int:
        self.said.append(command)
        return self.code

    def lines(self) -> list[str]:
        return [" ".join(each) for each in self.said]


def made(folder: Path, name: str = "archive", **more) -> Service:
    return Service(
        name=name,
        command=(sys.executable, "-m", "openmsi_core"),
        arguments=more.pop("arguments", ("run", "disk", "--topic", "t", "--folder", f"{folder}/a b%$")),
        folder=folder,
        **more,
    )


def unit_of(tmp_path, service: Service, *, system: bool) -> Path:
    Systemd(FakeShell(), system=system, home=tmp_path, root=tmp_path / "root").install(service)
    return next(tmp_path.glob(f"**/openmsi-{service.name}.service"))


@needs_systemd
@pytest.mark.parametrize("system", [False, True])
@pytest.mark.parametrize("arguments", [("run", "disk", "--topic", "t"), ("broker",), ("watch", "a b", "--topic", "t")])
def test_units_pass_systemds_own_check_without_a_word(tmp_path, monkeypatch, system, arguments) -> None:
    writes = tmp_path / "archive with space"
    writes.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    service = made(tmp_path, arguments=arguments, writes=(writes,), environment={"A": 'x "y" %i'}, account="root")
    shell = FakeShell(**{"getent passwd root": "root:x:0", "systemctl --version": version()})
    Systemd(shell, system=system, home=tmp_path, root=tmp_path / "root").install(service)
    unit = next(tmp_path.glob("**/openmsi-archive.service"))
    scope = ["--system"] if system else ["--user"]
    done = subprocess.run(
        ["systemd-analyze", *scope, "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def version() -> str:
    return subprocess.run(["systemd-analyze", "--version"], capture_output=True, text=True, check=True).stdout


@needs_systemd
def test_a_system_unit_is_hardened(tmp_path) -> None:
    unit = unit_of(tmp_path, made(tmp_path), system=True)
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=25", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr  # an exposure above 2.5 of 10


def test_a_unit_says_what_was_asked_for_and_no_secret(tmp_path) -> None:
    service = made(tmp_path, secrets={"OPENMSI_KAFKA__SASL_PASSWORD": 'hush "$x`\\ %'})
    unit = unit_of(tmp_path, service, system=False)
    text = unit.read_text("utf-8")
    assert f'ExecStart={sys.executable} -m openmsi_core run disk --topic t --folder "{tmp_path}/a b%%$$"\n' in text
    for line in ("Type=notify", "Restart=on-failure", "RestartPreventExitStatus=2 5", "KillSignal=SIGTERM"):
        assert f"{line}\n" in text
    assert "hush" not in text
    file = tmp_path / ".config/openmsi/services/archive.env"
    assert f"EnvironmentFile=-{file}\n" in text
    assert file.stat().st_mode & 0o777 == 0o600
    assert environment_in(file) == dict(service.secrets)


def test_a_newer_systemd_waits_longer_after_each_failure(tmp_path) -> None:
    shell = FakeShell(**{"systemctl --version": "systemd 255 (255.4)"})
    text = Systemd(shell, system=False, home=tmp_path).text(made(tmp_path))
    assert "RestartMaxDelaySec=300" in text
    assert "RestartMaxDelaySec" not in Systemd(FakeShell(), system=False, home=tmp_path).text(made(tmp_path))


def test_installing_twice_changes_nothing_and_removing_twice_neither(tmp_path) -> None:
    shell = FakeShell()
    systemd = Systemd(shell, system=False, home=tmp_path)
    assert len(systemd.install(made(tmp_path))) == 2
    assert systemd.install(made(tmp_path)) == []
    assert len(systemd.install(made(tmp_path, arguments=("run", "other")))) == 1
    assert len(systemd.remove("archive")) == 2
    assert "systemctl --user disable --now openmsi-archive.service" in shell.lines()
    assert systemd.remove("archive") == ["there is no service archive: nothing to do"]
    assert not list(tmp_path.glob("**/*archive*"))


def test_a_service_that_is_not_installed_cannot_be_started_and_the_message_says_how_to_install_it(tmp_path) -> None:
    for verb in ("start", "stop", "restart"):
        with pytest.raises(UsageError, match="openmsi service install archive"):
            getattr(Systemd(FakeShell(), system=False, home=tmp_path), verb)("archive")


def test_a_service_that_does_not_start_tells_what_it_said(tmp_path) -> None:
    shell = FakeShell(journalctl="openmsi: error: there is no plugin dsk")
    systemd = Systemd(shell, system=False, home=tmp_path)
    systemd.install(made(tmp_path))
    shell.failing = {"systemctl --user start"}
    with pytest.raises(ServiceFailed, match=r"exit code 1(.|\n)*no plugin dsk"):
        systemd.start("archive")


@pytest.mark.parametrize(
    ("told", "state"),
    [
        ("LoadState=not-found\nActiveState=inactive", "absent"),
        ("LoadState=loaded\nActiveState=active\nMainPID=7\nStatusText=idle: 3 files", "running"),
        ("LoadState=loaded\nActiveState=activating", "starting"),
        ("LoadState=loaded\nActiveState=inactive\nResult=success\nExecMainStatus=0", "stopped"),
        ("LoadState=loaded\nActiveState=failed\nResult=exit-code\nExecMainStatus=2", "failed"),
    ],
)
def test_status_is_one_of_five_words(tmp_path, told, state) -> None:
    found = Systemd(FakeShell(**{"show -p": told}), system=True, home=tmp_path).status("archive")
    assert found.state == state
    if state == "failed":
        assert (found.exit_code, found.detail) == (2, "exit-code")


def test_a_system_service_gets_an_account_of_its_own(tmp_path) -> None:
    shell = FakeShell(**{"getent passwd openmsi": ""})
    done = Systemd(shell, system=True, home=tmp_path, root=tmp_path).install(made(tmp_path))
    assert any(line.startswith("useradd --system") for line in shell.lines())
    assert "created the account openmsi" in done
    with pytest.raises(UsageError, match="no account curie"):
        Systemd(shell, system=True, home=tmp_path, root=tmp_path).install(made(tmp_path, account="curie"))
    with pytest.raises(UsageError, match="no folder"):
        Systemd(FakeShell(), system=True, home=tmp_path, root=tmp_path).install(
            made(tmp_path, writes=(tmp_path / "gone",))
        )


def test_failing_commands_are_told_with_their_output_and_exit_code() -> None:
    shell = RealShell()
    with pytest.raises(ServiceFailed, match=r"exit code 3: to stderr; to stdout"):
        shell.run("sh", "-c", "echo to stdout; echo to stderr >&2; exit 3")
    with pytest.raises(ServiceFailed, match="there is no no-such-program"):
        shell.run("no-such-program")
    with pytest.raises(ServiceFailed, match="loginctl enable-linger"):
        shell.run("sh", "-c", "echo 'Failed to connect to bus: No medium found' >&2; exit 1")
    assert shell.run("sh", "-c", "echo fine; exit 1", may_fail=True) == "fine\n"
    assert shell.show("true") == 0


def test_logs_are_those_of_the_journal_and_its_failure_is_ours(tmp_path) -> None:
    shell = FakeShell()
    systemd = Systemd(shell, system=False, home=tmp_path)
    systemd.install(made(tmp_path))
    systemd.logs("archive", 5, follow=True)
    assert shell.lines()[-1] == "journalctl --user-unit openmsi-archive.service -n 5 -o cat --no-pager -f"
    shell.code = 1
    with pytest.raises(ServiceFailed, match="exit code 1"):
        systemd.logs("archive", 5, follow=False)


# launchd


def test_a_property_list_parses_and_says_what_was_asked_for(tmp_path) -> None:
    shell = FakeShell()
    launchd = Launchd(shell, system=False, home=tmp_path, uid=501)
    service = made(tmp_path, secrets={"PASSWORD": "hush"}, environment={"A": "b"})
    assert len(launchd.install(service)) == 2
    assert launchd.install(service) == []
    file = tmp_path / "Library/LaunchAgents/org.openmsi.archive.plist"
    facts = plistlib.loads(file.read_bytes())
    words = facts["ProgramArguments"]
    assert words[:5] == [sys.executable, "-m", "openmsi_core", "service", "exec"]
    assert words[words.index("--") + 1 :] == list(service.arguments)
    assert (facts["Label"], facts["KeepAlive"], facts["ExitTimeOut"]) == (
        "org.openmsi.archive", {"SuccessfulExit": False}, 30,
    )  # fmt: skip
    assert b"hush" not in file.read_bytes()
    assert environment_in(Path(words[words.index("--environment") + 1])) == {"PASSWORD": "hush"}


def test_launchd_is_asked_in_the_order_that_it_needs(tmp_path) -> None:
    shell = FakeShell()
    launchd = Launchd(shell, system=False, home=tmp_path, uid=501)
    assert launchd.status("archive").state == "absent"
    launchd.install(made(tmp_path))
    assert launchd.status("archive").state == "stopped"
    launchd.start("archive")
    shell.answers["launchctl print"] = "\tpid = 42\n\truns = 3\n"
    found = launchd.status("archive")
    assert (found.state, found.pid, found.restarts) == ("running", 42, 2)
    launchd.stop("archive")
    shell.answers["launchctl print"] = "\tlast exit code = 2\n"
    assert (launchd.status("archive").state, launchd.status("archive").exit_code) == ("failed", 2)
    launchd.restart("archive")
    launchd.logs("archive", 5, follow=True)
    launchd.remove("archive")
    asked = [" ".join(words[:2]) for words in shell.said if words[1] != "print"]
    assert asked == [
        "launchctl kickstart", "launchctl bootout", "launchctl bootout", "launchctl kickstart", "tail -n",
        "launchctl bootout",
    ] or asked[0] == "launchctl bootstrap"  # fmt: skip
    assert launchd.remove("archive") == ["there is no service archive: nothing to do"]
    with pytest.raises(UsageError, match="service install archive"):
        launchd.start("archive")


# Windows: a fake of the port; nothing of it has been run there


class FakeWindows:
    """Services as Windows keeps them."""

    def __init__(self) -> None:
        self.services: dict[str, dict] = {}
        self.calls: list[str] = []

    def find(self, name: str) -> Found | None:
        one = self.services.get(name)
        return Found(one["state"], one.get("pid", 0), one.get("code", 0)) if one else None

    def create(self, name, display, command_line, account) -> None:
        self.calls.append("create")
        self.services[name] = {"state": "stopped", "line": command_line, "account": account}

    def change(self, name, display, command_line) -> None:
        self.calls.append("change")
        self.services[name]["line"] = command_line

    def restart_after_failure(self, name, pauses_ms) -> None:
        self.services[name]["pauses"] = pauses_ms

    def start(self, name) -> None:
        self.calls.append("start")
        self.services[name] |= self.services[name].get("on_start", {"state": "running", "pid": 9})

    def stop(self, name) -> None:
        self.calls.append("stop")
        self.services[name] |= {"state": "stopped", "pid": 0}

    def delete(self, name) -> None:
        self.calls.append("delete")
        del self.services[name]


def test_a_windows_service_is_made_changed_started_stopped_and_removed_and_each_may_be_repeated(tmp_path) -> None:
    port, shell = FakeWindows(), FakeShell()
    windows = WindowsServices(port, shell, tmp_path, look=0.0)
    service = made(tmp_path, secrets={"PASSWORD": "hush"})
    windows.install(service)
    windows.install(service)
    one = port.services["openmsi-archive"]
    assert "service exec --windows archive --environment" in one["line"]
    assert "hush" not in one["line"]
    assert one["account"] == "NT AUTHORITY\\LocalService"
    assert environment_in(tmp_path / "services/archive.env")["PASSWORD"] == "hush"  # noqa: S105 - a test
    assert any(line.startswith("icacls ") and "/inheritance:r" in line for line in shell.lines())
    for act in (windows.start, windows.start, windows.restart, windows.stop, windows.stop):
        act("archive")
    assert port.calls == ["create", "change", "start", "stop", "start", "stop"]
    one["code"] = 3
    assert windows.status("archive").state == "failed"
    windows.remove("archive")
    assert windows.remove("archive") == ["there is no service archive: nothing to do"]
    assert windows.status("archive").state == "absent"


def test_a_windows_service_that_ends_at_once_is_told_with_its_code_and_where_its_words_are(tmp_path, capsys) -> None:
    port = FakeWindows()
    windows = WindowsServices(port, FakeShell(), tmp_path, look=0.0)
    windows.install(made(tmp_path))
    port.services["openmsi-archive"]["on_start"] = {"state": "stopped", "code": 2}
    with pytest.raises(ServiceFailed, match=r"code 2.*service logs archive"):
        windows.start("archive")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/archive.log").write_text("one\ntwo\nthree\n")
    windows.logs("archive", 2, follow=False)
    assert capsys.readouterr().out == "two\nthree\n"
    with pytest.raises(UsageError, match="Get-Content -Wait"):
        windows.logs("archive", 2, follow=True)


def test_without_pywin32_windows_services_say_what_to_install() -> None:
    with pytest.raises(UsageError, match=r"openmsi\[windows\]"):
        services_of(system=False, platform="win32")
    assert isinstance(services_of(system=False, platform="darwin"), Launchd)
    assert isinstance(services_of(system=True, platform="linux"), Systemd)


def test_the_child_of_a_windows_service_ends_when_it_is_asked_to(tmp_path) -> None:
    code = (
        "import signal,sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); "
        "print('up', flush=True); signal.pause()"
    )
    log = tmp_path / "logs" / "x.log"
    child = Child([sys.executable, "-c", code], tmp_path, {"A": "b"}, log, interrupt_of_this_platform())
    child.stop(1.0)  # it does not run yet
    ended: list[int] = []
    thread = threading.Thread(target=lambda: ended.append(child.run(lambda: None)))
    thread.start()
    wait_for(lambda: log.exists() and log.read_text() == "up\n", 20)
    child.stop(10.0)
    thread.join()
    assert ended == [7]
    assert exit_code_for(7, (2, 5)) == 7
    assert exit_code_for(2, (2, 5)) == 0


# the file of variables, and the command line


@pytest.mark.parametrize("value", ["", "a b", 'q"uo\\te', "$HOME `x`", "é#;", "  "])
def test_variables_come_back_as_they_were(tmp_path, value) -> None:
    file = tmp_path / "x.env"
    assert keep(file, {"A": value})
    assert not keep(file, {"A": value})
    assert environment_in(file) == {"A": value}


def test_a_file_of_variables_that_a_person_wrote_is_read_and_a_wrong_line_is_named(tmp_path) -> None:
    file = tmp_path / "x.env"
    file.write_text("# secret\n\nPASSWORD=a b\nB=\n")
    assert environment_in(file) == {"PASSWORD": "a b", "B": ""}
    file.write_text("A=1\nexport B=2\n")
    with pytest.raises(UsageError, match=r"x\.env:2"):
        environment_in(file)
    with pytest.raises(UsageError, match="line end"):
        written({"A": "x\ny"})


@pytest.mark.parametrize("name", ["", "Big", "a b", "../x", "-a", "a" * 65])
def test_names_that_are_no_name_everywhere_are_refused(name) -> None:
    with pytest.raises(UsageError, match="cannot name a service"):
        refuse_name(name)


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """`openmsi service` on a fake systemd of this folder."""
    shell = FakeShell()
    systemd = Systemd(shell, system=False, home=tmp_path)
    monkeypatch.setattr("openmsi_core.services.services_of", lambda *, system: systemd)
    monkeypatch.chdir(tmp_path)
    return shell


def test_the_command_installs_starts_asks_and_removes(installed, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("XRD_PASSWORD", "hush")
    monkeypatch.setenv("OPENMSI_BROKER", "b:9092")
    words = [
        "service",
        "install",
        "archive",
        "--env",
        "XRD_PASSWORD",
        "--",
        "run",
        "disk",
        "--topic",
        "t",
        "--folder",
        "o",
    ]
    assert main(words) == 0
    assert installed.lines()[-1] == "systemctl --user restart openmsi-archive.service"
    assert environment_in(tmp_path / ".config/openmsi/services/archive.env") == {
        "OPENMSI_BROKER": "b:9092", "OPENMSI_STATE": os.environ["OPENMSI_STATE"], "XRD_PASSWORD": "hush",
    }  # fmt: skip
    assert main(words) == 0
    assert installed.lines()[-1] == "systemctl --user start openmsi-archive.service"
    installed.answers["show -p"] = "LoadState=loaded\nActiveState=active\nMainPID=7"
    capsys.readouterr()
    assert main(["service", "status", "archive", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pid"] == 7
    installed.answers["show -p"] = "LoadState=loaded\nActiveState=failed\nResult=exit-code\nExecMainStatus=2"
    assert main(["service", "status", "archive"]) == 4
    assert "archive failed: exit-code, exit code 2" in capsys.readouterr().out
    for verb in ("stop", "start", "restart", "logs", "remove"):
        assert main(["service", verb, "archive"]) == 0
    installed.failing = {"daemon-reload"}
    assert main(words) == 1
    assert "ended with exit code 1: no" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--", "rn", "disk"], "no command of openmsi"),
        (["--", "service", "status", "x"], "no command of openmsi"),
        (["--", "run", "disk", "-X", "sasl.password=hush"], "is a secret"),
        (["--", "run", "disk", "-Xsasl.password=hush"], "is a secret"),
        (["--", "run", "s3", "--secret-key=hush"], "is a secret"),
        (["--env", "NOT_THERE", "--", "run", "disk"], "has no NOT_THERE"),
    ],
)
def test_what_could_not_work_or_would_show_a_secret_is_refused(installed, capsys, words, why) -> None:
    assert main(["service", "install", "archive", *words]) == 2
    assert why in capsys.readouterr().err
    assert installed.said == []


def test_exec_runs_a_command_with_its_variables_and_rests_on_what_a_restart_would_repeat(
    tmp_path, capsys, monkeypatch
) -> None:
    monkeypatch.setenv("OPENMSI_CONFIG", "")
    keep(tmp_path / "x.env", {"OPENMSI_BROKER": "nonsense"})
    words = ["service", "exec", "--environment", str(tmp_path / "x.env")]
    assert main([*words, "--", "config", "check"]) == 2
    assert "OPENMSI_BROKER 'nonsense' is not HOST:PORT" in capsys.readouterr().err
    assert main([*words, "--rest-on", "2", "--", "config", "check"]) == 0
