"""Finding and ending processes that outlived the replica that started them.

Every process that a replica starts inherits its environment, so a mark there tells whose child it is, whatever happened to
the family tree meanwhile. Linux only: elsewhere nothing is found.
"""

import logging
import os
import signal
from pathlib import Path

import psutil

logger = logging.getLogger(__name__)

OWNER = "OHLORA_OWNER"  # identity of the replica that a process belongs to


def identity(process: psutil.Process) -> str:
    """``pid:start``, which no later process with the same pid shares. The start is in clock ticks since boot: by the wall
    clock, which may be set while the process runs, a living engine would look like an orphan."""
    stat = Path(f"/proc/{process.pid}/stat")
    if not stat.exists():
        return f"{process.pid}:{process.create_time():.2f}"
    return f"{process.pid}:{stat.read_text().rpartition(')')[2].split()[19]}"


def mark_children() -> None:
    """Marks what this process starts from now on as its own."""
    os.environ[OWNER] = identity(psutil.Process())


def with_variable(name: str) -> list[tuple[psutil.Process, str]]:
    """Processes of this user that have ``name`` in their environment, and its value."""
    found = []
    for process in psutil.process_iter():
        try:
            value = process.environ().get(name)
            if value is not None and process.status() != psutil.STATUS_ZOMBIE:
                found.append((process, value))
        except (psutil.Error, OSError):
            continue
    return found


def of_session(leader: str) -> list[psutil.Process]:
    """Processes of the session that the process with this ``identity`` leads or led; none when its pid has gone to another."""
    pid = int(leader.split(":")[0])
    if psutil.pid_exists(pid) and not lives(leader):
        return []
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == pid and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def kill_orphans() -> int:
    """Kills processes whose owner is gone; returns how many."""
    orphans = [process for process, owner in with_variable(OWNER) if not lives(owner)]
    end(orphans, grace_s=0)
    if orphans:
        logger.warning("cleared %d processes that a killed replica left behind", len(orphans))
    return len(orphans)


def lives(owner: str) -> bool:
    """Whether the process with this ``identity`` still runs."""
    try:
        return identity(psutil.Process(int(owner.split(":")[0]))) == owner
    except (psutil.Error, OSError, ValueError):
        return False


def end(processes: list[psutil.Process], *, grace_s: float) -> None:
    """Ends ``processes``: asks, waits ``grace_s`` seconds, then kills."""
    for process in processes:
        _signal(process, signal.SIGTERM if grace_s else signal.SIGKILL)
    _, alive = psutil.wait_procs(processes, timeout=grace_s or 5)
    for process in alive:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=5)


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.Error:
        return
