"""The door to pywin32 (extra ``[windows]``). Written from its documentation; no test of ours has run it on Windows."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

from openmsi_core.errors import ServiceFailed, UsageError
from openmsi_core.services.hosting import Child, exit_code_for
from openmsi_core.services.windows import STOP_SECONDS, Found

_NOT_THERE = 1060
_STATES = {1: "stopped", 2: "starting", 3: "stopping", 4: "running"}
_SPECIFIC = 1066


def module(name: str) -> Any:
    """A module of pywin32. Raises UsageError when it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError('services of Windows need pywin32: pip install "openmsi[windows]"') from error


class Pywin32:
    """The Port, by pywin32."""

    def __init__(self) -> None:
        self._api = module("win32service")

    def find(self, name: str) -> Found | None:
        """See Port."""
        try:
            told = self._with(name, self._api.QueryServiceStatusEx)
        except ServiceFailed as error:
            if f"({_NOT_THERE})" in str(error):
                return None
            raise
        code = told["Win32ExitCode"]
        code = told["ServiceSpecificExitCode"] if code == _SPECIFIC else code
        return Found(_STATES.get(told["CurrentState"], "starting"), told["ProcessId"], code)

    def create(self, name: str, display: str, command_line: str, account: str) -> None:
        """See Port."""
        api = self._api

        def make(manager: Any) -> None:
            own, starts, errors = api.SERVICE_WIN32_OWN_PROCESS, api.SERVICE_AUTO_START, api.SERVICE_ERROR_NORMAL
            every = api.SERVICE_ALL_ACCESS
            service = api.CreateService(
                manager, name, display, every, own, starts, errors, command_line, None, 0, None, account, None
            )
            api.CloseServiceHandle(service)

        self._managed(name, make)

    def change(self, name: str, display: str, command_line: str) -> None:
        """See Port."""
        same = self._api.SERVICE_NO_CHANGE
        self._with(
            name,
            lambda service: self._api.ChangeServiceConfig(
                service, same, same, same, command_line, None, 0, None, None, None, display
            ),
        )

    def restart_after_failure(self, name: str, pauses_ms: Sequence[int]) -> None:
        """See Port."""
        api = self._api
        actions = [(api.SC_ACTION_RESTART, pause) for pause in pauses_ms]
        facts = {"ResetPeriod": 3600, "RebootMsg": "", "Command": "", "Actions": actions}
        self._with(name, lambda each: api.ChangeServiceConfig2(each, api.SERVICE_CONFIG_FAILURE_ACTIONS, facts))
        self._with(name, lambda each: api.ChangeServiceConfig2(each, api.SERVICE_CONFIG_FAILURE_ACTIONS_FLAG, True))

    def start(self, name: str) -> None:
        """See Port."""
        self._with(name, lambda service: self._api.StartService(service, None))

    def stop(self, name: str) -> None:
        """See Port."""
        self._with(name, lambda service: self._api.ControlService(service, self._api.SERVICE_CONTROL_STOP))

    def delete(self, name: str) -> None:
        """See Port."""
        self._with(name, self._api.DeleteService)

    def _with(self, name: str, act: Callable[[Any], Any]) -> Any:
        def opened(manager: Any) -> Any:
            service = self._api.OpenService(manager, name, self._api.SERVICE_ALL_ACCESS)
            try:
                return act(service)
            finally:
                self._api.CloseServiceHandle(service)

        return self._managed(name, opened)

    def _managed(self, name: str, act: Callable[[Any], Any]) -> Any:
        try:
            manager = self._api.OpenSCManager(None, None, self._api.SC_MANAGER_ALL_ACCESS)
            try:
                return act(manager)
            finally:
                self._api.CloseServiceHandle(manager)
        except self._api.error as error:
            number, function, text = error.args[:3]
            raise ServiceFailed(
                f"Windows refused {function} for the service {name}: {text} ({number}). An administrator's prompt may "
                "be needed."
            ) from error


def host(name: str, child: Child, rests_on: Sequence[int]) -> int:
    """Be the service ``name``: answer to Windows, run ``child`` until it ends or Windows says stop. Blocks."""
    framework, manager, console = module("win32serviceutil"), module("servicemanager"), module("win32console")
    api = module("win32service")
    ended = [0]
    base: Any = framework.ServiceFramework

    class Service(base):  # type: ignore[misc] # pywin32 has no types
        _svc_name_ = f"openmsi-{name}"
        _svc_display_name_ = _svc_name_

        def SvcDoRun(self) -> None:  # noqa: N802 - pywin32's name
            console.AllocConsole()  # a child gets Ctrl-Break only through a console that we share with it
            code = child.run(lambda: self.ReportServiceStatus(api.SERVICE_RUNNING))
            ended[0] = exit_code_for(code, rests_on)
            if ended[0]:
                self.ReportServiceStatus(api.SERVICE_STOPPED, 0, win32ExitCode=_SPECIFIC, svcExitCode=ended[0])

        def SvcStop(self) -> None:  # noqa: N802 - pywin32's name
            self.ReportServiceStatus(api.SERVICE_STOP_PENDING, int(STOP_SECONDS * 1000))
            child.stop(STOP_SECONDS)

    manager.Initialize()
    manager.PrepareToHostSingle(Service)
    manager.StartServiceCtrlDispatcher()
    return ended[0]
