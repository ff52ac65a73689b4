"""A test server: speaks the HTTP contract of `/v1/chat` and the memories over a real socket, with scripted answers.

It keeps replies by idempotency key as the real one does, so that a test can see whether anything was said twice.
"""

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit


def reply(answer: str = "안녕! 나 오로라야", **fields: Any) -> dict[str, Any]:
    """The object of a `done` event."""
    return {
        "turn_id": "t1",
        "session_id": "s1",
        "persona": "ohlora",
        "answer": answer,
        "system_message": None,
        "pose": {"eyes": "크게", "mouth": "보통", "head": "없음", "scores": {}, "weights": {}},
        "memory": {"used": None, "saved": None},
        "summary": None,
        "ethics": {"verdict": "none", "categories": [], "scores": {}},
        "sources": [],
        "degraded": [],
        "timings_ms": {"total": 1},
    } | fields


@dataclass
class Says:
    """A whole answer. ``kept_then_broken``: kept by the server, but the connection breaks after the first piece."""

    reply: dict[str, Any] = field(default_factory=reply)
    kept_then_broken: bool = False


@dataclass
class Refuses:
    """An error before the first event; with ``in_stream`` after a first piece."""

    status: int
    code: str
    message: str = "안 돼요."
    headers: dict[str, str] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)
    in_stream: bool = False


@dataclass
class Breaks:
    """A first piece, then the connection ends: in the middle of the body, or, ``tidily``, as if it were whole."""

    tidily: bool = False


@dataclass
class Hangs:
    """A first piece and then comments only, until the client closes the connection."""


@dataclass
class Page:
    """What another kind of server answers."""

    status: int = 200


Step = Says | Refuses | Breaks | Hangs | Page


class ContractServer:
    """Use in a ``with``. ``steps`` are taken one per message that runs; without one it just answers."""

    def __init__(self, port: int = 0) -> None:
        self.steps: list[Step] = []
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.ran = 0  # turns that were generated, not replayed
        self.left = threading.Event()  # a client closed a hanging stream
        self.memories: list[dict[str, Any]] = []
        self.kept: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
        handler = type("Handler", (_Handler,), {"contract": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._http.daemon_threads = True

    @property
    def port(self) -> int:
        return int(self._http.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def keys(self) -> list[str]:
        """Idempotency keys in the order they came."""
        return [headers["idempotency-key"] for headers in self.headers if "idempotency-key" in headers]

    def __enter__(self) -> "ContractServer":
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    contract: ClassVar[ContractServer]

    def do_POST(self) -> None:
        contract = self.contract
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        contract.paths.append(self.path)
        contract.bodies.append(body)
        contract.headers.append({name.lower(): value for name, value in self.headers.items()})
        key = self.headers["Idempotency-Key"]
        if key in contract.kept:
            first, kept = contract.kept[key]
            if first != body:
                self._refuse(Refuses(422, "idempotency_mismatch"))
            else:
                self._say(Says(kept))
            return
        contract.ran += 1
        step = contract.steps.pop(0) if contract.steps else Says()
        if isinstance(step, Says):
            contract.kept[key] = (body, step.reply)
            self._say(step)
        elif isinstance(step, Refuses):
            self._refuse(step)
        elif isinstance(step, Breaks):
            self._open()
            self._event("token", {"text": "안녕! "})
            self._close(tidily=step.tidily)
        elif isinstance(step, Hangs):
            self._hang()
        else:
            self._send(step.status, b"<html>nginx</html>", {"Content-Type": "text/html"})

    def do_GET(self) -> None:
        self.contract.paths.append(self.path)
        address = urlsplit(self.path)
        self.contract.headers.append({name.lower(): value for name, value in self.headers.items()})
        assert set(parse_qs(address.query)) <= {"timezone"}
        self._json(200, {"memories": self.contract.memories})

    def do_DELETE(self) -> None:
        self.contract.paths.append(self.path)
        wanted = unquote(self.path.rpartition("/")[2])
        found = [memory for memory in self.contract.memories if memory["id"] == wanted]
        if not found:
            self._refuse(Refuses(404, "memory_not_found", "그런 기억을 찾을 수 없어요."))
            return
        self.contract.memories.remove(found[0])
        self._send(204, b"", {})

    def _say(self, step: Says) -> None:
        said = step.reply
        first, rest = said["answer"][:2], said["answer"][2:]
        self._open()
        self._raw(b": ping\n\n")
        self._event("token", {"text": first})
        if step.kept_then_broken:
            self._close(tidily=False)
            return
        if rest:
            self._event("token", {"text": rest})
        self._event("pose", said["pose"])
        self._raw(b": ping\n\n")
        self._event("done", said)
        self._close(tidily=True)

    def _refuse(self, step: Refuses) -> None:
        error = {"message": step.message, "type": "t", "code": step.code, "param": None, "request_id": "req-7"}
        body = {"error": error | step.fields}
        if step.in_stream:
            self._open()
            self._event("token", {"text": "안녕! "})
            self._event("error", body)
            self._close(tidily=True)
        else:
            self._json(step.status, body, step.headers)

    def _hang(self) -> None:
        self._open()
        self._event("token", {"text": "안녕! "})
        try:
            while not self.contract.left.wait(0.02):
                self._raw(b": ping\n\n")
        except OSError:
            self.contract.left.set()
        self.close_connection = True

    def _open(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("x-request-id", "req-7")
        self.end_headers()

    def _event(self, name: str, data: dict[str, Any]) -> None:
        raw = f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()
        # Two chunks, parted inside a character where there is one.
        middle = next((at + 1 for at, byte in enumerate(raw) if byte >= 0xE0), len(raw) // 2)
        self._raw(raw[:middle])
        self._raw(raw[middle:])

    def _raw(self, raw: bytes) -> None:
        self.wfile.write(f"{len(raw):x}\r\n".encode() + raw + b"\r\n")
        self.wfile.flush()

    def _close(self, *, tidily: bool) -> None:
        if tidily:
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.close_connection = True

    def _json(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        raw = json.dumps(body, ensure_ascii=False).encode()
        self._send(status, raw, {"Content-Type": "application/json", "x-request-id": "req-7"} | (headers or {}))

    def _send(self, status: int, raw: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: object) -> None:
        pass
