"""What ends a run and what does not, without starting one."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deployments import launch, processes
from tests.unit.deployments.test_config import project  # noqa: F401


class FakeRun:
    """A run that is asked to end while it starts, and again while it ends."""

    stopped = False

    def __init__(self, *_: object) -> None:
        FakeRun.stopped = False

    def wait_until_ready(self) -> None:
        os.kill(os.getpid(), signal.SIGHUP)
        signal.pause()

    def stop(self) -> None:
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
        FakeRun.stopped = True


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, project: Path) -> Iterator[None]:  # noqa: F811
    monkeypatch.setattr("sys.argv", ["launch", str(project / "serve_config.yaml")])
    monkeypatch.setattr(launch, "Run", FakeRun)
    monkeypatch.setattr(launch, "data_folder", lambda _: tmp_path)
    monkeypatch.setattr(launch, "check_port", lambda *_: None)
    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("started")
def test_asking_twice_ends_it_once_and_whole():
    assert launch.main() == 0
    assert FakeRun.stopped


@pytest.mark.usefixtures("started")
def test_a_closed_terminal_leaves_nothing_running(monkeypatch: pytest.MonkeyPatch):
    def gone(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(launch.console, "print", gone)
    with pytest.raises(OSError, match="Input/output"):
        launch.main()
    assert FakeRun.stopped


def test_a_process_stays_itself_when_the_clock_is_set(monkeypatch: pytest.MonkeyPatch):
    me = processes.identity(psutil.Process())
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: 1.0)
    assert processes.lives(me)
    assert not processes.lives(me + "1")
