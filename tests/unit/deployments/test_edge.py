"""What every request passes first: headers that steer Serve, request ids, sizes."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from deployments import edge, http
from deployments.config import IngressSettings
from deployments.edge import ProxyEdge
from state.store import Store
from tests.support import LocalModels, LocalService

BODY = {"user_id": "mina", "session_id": "s1", "message": "안녕"}
STEERING = [
    "X-Request-Timeout-Seconds",
    "x-request-disconnect-disabled",
    "SERVE_MULTIPLEXED_MODEL_ID",
    "serve-multiplexed-model-id",
]
SANE = ["r-1", "a" * 128, "Az09._:@-"]
INSANE = ["", "a" * 129, "a b", "<script>", "a\tb", "é", "r-1\\", "a/b"]


class Behind:
    """What stands behind an edge: it keeps what it is given, and answers."""

    scope: Scope

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode("latin-1") for name, value in self.scope["headers"]}


async def through_proxy(headers: list[tuple[str, str]]) -> dict[str, str]:
    """Headers that Serve's proxy reads of a request with these."""
    behind = Behind()
    transport = httpx.ASGITransport(ProxyEdge(behind))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        sent = [(name.encode(), value.encode("latin-1")) for name, value in headers]
        assert (await client.get("/", headers=sent)).status_code == 204
    return behind.headers


@pytest.mark.parametrize("name", STEERING)
async def test_the_proxy_reads_no_header_that_steers_serve(name):
    read = await through_proxy([(name, "0.001"), ("x-session-id", "s1"), (name, "again")])
    assert name.lower() not in read
    assert read["x-session-id"] == "s1"


@pytest.mark.parametrize("request_id", SANE)
async def test_the_proxy_reads_a_sane_request_id(request_id):
    assert (await through_proxy([("x-request-id", request_id)]))["x-request-id"] == request_id


@pytest.mark.parametrize("request_id", INSANE)
async def test_the_proxy_reads_no_insane_request_id(request_id):
    assert "x-request-id" not in await through_proxy([("x-request-id", request_id)])


async def test_of_several_request_ids_only_sane_ones_are_read():
    assert (await through_proxy([("x-request-id", "a b"), ("x-request-id", "r-1")]))["x-request-id"] == "r-1"


async def test_what_is_no_http_request_passes_the_proxy_as_it_is():
    seen: list[Scope] = []

    async def behind(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    async def nothing(*_: Any) -> Any:
        return {}

    scope = {"type": "lifespan"}
    await ProxyEdge(behind)(scope, nothing, nothing)
    assert seen == [scope]


async def test_serve_is_given_this_edge():
    (middleware,) = edge.proxy_middlewares()
    assert middleware.cls is ProxyEdge


@pytest.fixture
async def service(store: Store) -> LocalService:
    models = await LocalModels.create()
    models.score()
    return LocalService(models, store)


def serving(service: LocalService, **how: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(http.create_app(service, **how), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://test")


@pytest.fixture
async def client(service: LocalService) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(service) as client:
        yield client


def code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


@pytest.mark.parametrize("request_id", SANE)
async def test_a_sane_request_id_comes_back(client, request_id):
    response = await client.get("/livez", headers={"x-request-id": request_id})
    assert response.headers.get_list("x-request-id") == [request_id]


@pytest.mark.parametrize("request_id", INSANE)
async def test_an_insane_request_id_is_replaced(client, request_id):
    response = await client.get("/livez", headers={"x-request-id": request_id.encode("latin-1")})
    (given,) = response.headers.get_list("x-request-id")
    assert len(given) == 32


async def test_behind_serve_a_sane_request_id_is_left_to_its_proxy(service):
    async with serving(service, behind_serve=True) as client:
        assert "x-request-id" not in (await client.get("/livez", headers={"x-request-id": "r-1"})).headers
        assert len((await client.get("/livez")).headers["x-request-id"]) == 32


@pytest.mark.parametrize("headers", [{"x-large": "x" * 17_000}, {f"x-{n}": "x" * 100 for n in range(200)}])
async def test_headers_over_the_limit_are_refused(client, headers):
    response = await client.post("/v1/chat", json=BODY, headers=headers | {"x-request-id": "r-1"})
    assert code(response) == (431, "headers_too_large")
    assert response.headers["x-request-id"] == response.json()["error"]["request_id"] == "r-1"


async def test_headers_within_the_limit_pass(client):
    assert (await client.post("/v1/chat", json=BODY, headers={"x-large": "x" * 15_000})).status_code == 200


@pytest.mark.parametrize(
    "path", ["/v1/chat", "/v1/chat/completions", "/v1/users/mina/memories", "/v1/users/mina/appeals"]
)
@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_over_the_limit_is_refused_declared_or_in_chunks(client, path, declared):
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(7):
            yield b" " * 10_000

    content = b" " * 70_000 if declared else chunks()
    response = await client.post(path, content=content, headers={"content-type": "application/json"})
    assert code(response) == (413, "body_too_large")
    assert "65536" in response.json()["error"]["message"]


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_within_the_limit_passes(client, declared):
    async def chunks() -> AsyncIterator[bytes]:
        yield b" " * 60_000
        yield b'{"user_id": "mina", "message": "hi"}'

    content = b"".join([part async for part in chunks()]) if declared else chunks()
    response = await client.post("/v1/chat", content=content, headers={"content-type": "application/json"})
    assert response.status_code == 200


@pytest.mark.parametrize("length", ["-1", "ten", "1e9", "5"])
async def test_a_length_that_is_not_true_does_not_lift_the_limit(client, length):
    async def chunks() -> AsyncIterator[bytes]:
        yield b" " * 70_000

    headers = {"content-type": "application/json", "content-length": length}
    response = await client.post("/v1/chat", content=chunks(), headers=headers)
    assert code(response) == (413, "body_too_large")


async def test_the_limits_may_change_while_it_runs(client, service):
    service.conversation.settings = IngressSettings(max_body_bytes=1024, max_header_bytes=1024)
    assert code(await client.post("/v1/chat", content=b" " * 1025)) == (413, "body_too_large")
    assert code(await client.get("/livez", headers={"x-large": "x" * 1000})) == (431, "headers_too_large")
