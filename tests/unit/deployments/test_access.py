"""Who may do what, how often, and from which pages: keys, limits and CORS on the real app."""

import hashlib
import hmac
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from deployments import access, http
from deployments.config import AccessSettings, IngressSettings
from deployments.schemas.errors import ApiError
from state.store import Store
from tests.support import LocalModels, LocalService

KEYS = {"user": "key-of-mina", "service": "key-of-the-front-end", "admin": "key-of-the-administrator"}
CHAT = {"user_id": "mina", "session_id": "s1", "message": "안녕"}
COMPLETION: dict[str, Any] = {"model": "ohlora", "messages": [{"role": "user", "content": "안녕"}]}
PAGE = "https://page.example"


def sha256(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def key_settings(*kinds: str) -> list[dict[str, str]]:
    return [
        {"name": kind, "kind": kind, "sha256": sha256(KEYS[kind])} | ({"user_id": "mina"} if kind == "user" else {})
        for kind in kinds or KEYS
    ]


Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
async def serve(store: Store) -> Serve:
    """Serves the app with these access settings; with the keys of all kinds, where nothing else is said."""

    @asynccontextmanager
    async def serving(**settings: Any) -> AsyncIterator[httpx.AsyncClient]:
        models = await LocalModels.create()
        models.score()
        made = IngressSettings.model_validate({"access": {"keys": key_settings()} | settings})
        transport = httpx.ASGITransport(http.create_app(LocalService(models, store, made)), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client

    return serving


@pytest.fixture
async def client(serve: Serve) -> AsyncIterator[httpx.AsyncClient]:
    async with serve() as client:
        yield client


def bearer(kind: str) -> dict[str, str]:
    return {"authorization": f"Bearer {KEYS[kind]}"}


def code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


# ---------------------------------------------------------------- keys

OF_A_USER: list[tuple[str, str, Any]] = [
    ("POST", "/v1/chat", CHAT),
    ("POST", "/v1/chat/completions", COMPLETION | {"user": "mina"}),
    ("POST", "/v1/chat/completions", COMPLETION | {"user": "mina", "metadata": {"session_id": "s1"}}),
    ("GET", "/v1/users/mina/memories", None),
    ("POST", "/v1/users/mina/memories", {"key": "이름", "value": "민아"}),
    ("PATCH", "/v1/users/mina/memories/m1", {"value": "민아"}),
    ("DELETE", "/v1/users/mina/memories/m1", None),
    ("GET", "/v1/users/mina/sessions", None),
    ("GET", "/v1/users/mina/sessions/s1", None),
    ("DELETE", "/v1/users/mina/sessions/s1", None),
    ("GET", "/v1/users/mina/export", None),
    ("DELETE", "/v1/users/mina", None),
    ("GET", "/v1/users/mina/sanctions", None),
    ("POST", "/v1/users/mina/appeals", {"sanction_id": "x", "text": "억울해요"}),
]
OF_THE_ADMINISTRATOR: list[tuple[str, str, Any]] = [
    ("GET", "/v1/admin/sanctions", None),
    ("GET", "/v1/admin/appeals", None),
    ("POST", "/v1/admin/users/mina/sanctions/x/lift", {"reason": "잘못"}),
]
OF_ANY_KEY: list[tuple[str, str, Any]] = [("GET", "/v1/models", None), ("GET", "/v1/models/ohlora", None)]


async def test_the_routes_of_these_tests_are_all_there_are(client):
    known = {(method, path.partition("?")[0]) for method, path, _ in OF_A_USER + OF_THE_ADMINISTRATOR + OF_ANY_KEY}
    for path, methods in (await client.get("/openapi.json")).json()["paths"].items():
        if path.startswith("/v1"):
            concrete = path.format(user="mina", memory_id="m1", session="s1", sanction_id="x", model="ohlora")
            assert {(method.upper(), concrete) for method in methods} <= known


@pytest.mark.parametrize(("method", "path", "body"), OF_A_USER + OF_THE_ADMINISTRATOR + OF_ANY_KEY)
async def test_without_a_key_nothing_of_the_api_is_there(client, method, path, body):
    response = await client.request(method, path, json=body)
    assert code(response) == (401, "invalid_api_key")
    assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(("method", "path", "body"), OF_A_USER)
@pytest.mark.parametrize(("kind", "passes"), [("user", True), ("service", True), ("admin", False)])
async def test_a_users_routes_are_for_the_user_and_for_front_ends(client, method, path, body, kind, passes):
    response = await client.request(method, path, json=body, headers=bearer(kind))
    if passes:
        assert response.status_code in (200, 201, 204, 404), "404 where there is nothing yet"
    else:
        assert code(response) == (403, "not_permitted")


@pytest.mark.parametrize(("method", "path", "body"), OF_A_USER)
async def test_a_user_key_does_nothing_for_another_user(client, store, method, path, body):
    body = body and {name: "jun" if value == "mina" else value for name, value in body.items()}
    path = path.replace("mina", "jun")
    response = await client.request(method, path, json=body, headers=bearer("user"))
    assert code(response) == (403, "not_permitted")
    assert await store.sessions("jun") == []


@pytest.mark.parametrize(("method", "path", "body"), OF_THE_ADMINISTRATOR)
@pytest.mark.parametrize(("kind", "passes"), [("user", False), ("service", False), ("admin", True)])
async def test_the_administrators_routes_are_for_the_administrator_only(client, method, path, body, kind, passes):
    response = await client.request(method, path, json=body, headers=bearer(kind))
    if passes:
        assert response.status_code in (200, 404)
    else:
        assert code(response) == (403, "not_permitted")


@pytest.mark.parametrize(("method", "path", "body"), OF_ANY_KEY)
@pytest.mark.parametrize("kind", KEYS)
async def test_every_key_may_see_the_models(client, method, path, body, kind):
    assert (await client.request(method, path, headers=bearer(kind))).status_code == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/", "/openapi.json", "/docs"])
async def test_health_and_pages_need_no_key(client, path):
    assert (await client.get(path)).status_code == 200


@pytest.mark.parametrize(
    "given",
    [
        "Bearer wrong",
        "Bearer",
        "Bearer ",
        "",
        "key-of-mina",
        "Basic key-of-mina",
        "Bearer key-of-mina x",
        "Bearer \xff",
    ],
)
async def test_what_is_no_key_is_refused(client, given):
    response = await client.get("/v1/models", headers={"authorization": given.encode("latin-1")})
    assert code(response) == (401, "invalid_api_key")


@pytest.mark.parametrize("given", ["bearer key-of-mina", "BEARER key-of-mina", "Bearer  key-of-mina "])
async def test_the_scheme_is_read_as_http_means_it(client, given):
    assert (await client.get("/v1/models", headers={"authorization": given})).status_code == 200


async def test_the_hash_of_a_key_is_no_key(client):
    response = await client.get("/v1/models", headers={"authorization": f"Bearer {sha256(KEYS['service'])}"})
    assert code(response) == (401, "invalid_api_key")


async def test_a_user_key_may_leave_the_user_out_of_a_completion(client, store):
    headers = bearer("user") | {"x-session-id": "s1"}
    response = await client.post("/v1/chat/completions", json=COMPLETION, headers=headers)
    assert response.status_code == 200
    assert [session.session_id for session in await store.sessions("mina")] == ["s1"]


async def test_a_service_key_may_not_leave_the_user_of_a_session_out(client):
    headers = bearer("service") | {"x-session-id": "s1"}
    response = await client.post("/v1/chat/completions", json=COMPLETION, headers=headers)
    assert code(response) == (422, "validation_error")


@pytest.mark.parametrize(("method", "path", "body"), OF_A_USER + OF_THE_ADMINISTRATOR + OF_ANY_KEY)
async def test_a_server_without_keys_is_open(serve, method, path, body):
    async with serve(keys=[]) as client:
        assert (await client.request(method, path, json=body)).status_code in (200, 201, 204, 404)


@pytest.mark.parametrize("given", [*KEYS.values(), "wrong"])
def test_every_hash_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    compared = []
    real = hmac.compare_digest

    def watched(one: str, other: str) -> bool:
        compared.append(one)
        assert other == sha256(given)
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", watched)
    try:
        access.caller(AccessSettings.model_validate({"keys": key_settings()}), f"Bearer {given}")
    except ApiError:
        assert given == "wrong"
    assert compared == [key["sha256"] for key in key_settings()]


def test_two_keys_of_one_name_or_hash_are_refused() -> None:
    one = key_settings("service")[0]
    for other in (one | {"sha256": sha256("other")}, one | {"name": "other"}):
        with pytest.raises(ValueError, match="one name or one hash"):
            AccessSettings.model_validate({"keys": [one, other]})


@pytest.mark.parametrize("change", [{"user_id": None}, {"kind": "service"}, {"sha256": "A" * 64}, {"user_id": "a b"}])
def test_a_key_that_can_not_be_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="keys"):
        AccessSettings.model_validate({"keys": [key_settings("user")[0] | change]})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_without_keys_loopback_is_allowed(host: str) -> None:
    access.refuse_open_address(host, AccessSettings())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.com", "", "localhost.example.com"])
def test_without_keys_another_address_is_refused_with_what_to_do(host: str) -> None:
    with pytest.raises(ValueError, match=r"http_options.host: .*\(python -m deployments.access"):
        access.refuse_open_address(host, AccessSettings())
    access.refuse_open_address(host, AccessSettings.model_validate({"keys": key_settings("admin")}))


def command(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deployments.access", *arguments],
        cwd=project, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["web"], {"name": "web", "kind": "service"}),
        (["1e3", "--kind", "admin"], {"name": "1e3", "kind": "admin"}),
        (["@phone", "--kind", "user", "--user", "1234"], {"name": "@phone", "kind": "user", "user_id": "1234"}),
    ],
)
def test_the_command_makes_a_key_whose_line_goes_into_the_file_as_it_is(project, arguments, expected):
    done = command(project, *arguments)
    assert done.returncode == 0, done.stderr
    shown, _, line = done.stdout.splitlines()
    key = shown.rpartition(" ")[2]
    (parsed,) = yaml.safe_load(line)
    assert parsed == expected | {"sha256": sha256(key)}
    assert key not in line
    caller = access.caller(AccessSettings.model_validate({"keys": [parsed]}), f"Bearer {key}")
    assert (caller.kind, caller.key, caller.user_id) == (expected["kind"], expected["name"], expected.get("user_id"))


@pytest.mark.parametrize(
    "arguments", [["web", "--kind", "user"], ["web", "--user", "mina"], ["web", "--kind", "boss"], ["a b"]]
)
def test_the_command_refuses_a_key_that_can_not_be(project, arguments):
    done = command(project, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")


# ---------------------------------------------------------------- limits


def left(response: httpx.Response) -> tuple[int, int]:
    return int(response.headers["ratelimit-limit"]), int(response.headers["ratelimit-remaining"])


async def test_replies_say_how_much_of_the_limit_is_left(serve):
    async with serve(user_limit={"requests": 3, "per_s": 60}) as client:
        responses = [await client.post("/v1/chat", json=CHAT, headers=bearer("service")) for _ in range(4)]
    assert [left(response) for response in responses] == [(3, 2), (3, 1), (3, 0), (3, 0)]
    assert 1 <= int(responses[0].headers["ratelimit-reset"]) <= 20
    assert [response.status_code for response in responses] == [200, 200, 200, 429]


async def test_too_many_requests_about_a_user_are_refused_with_a_time(serve):
    async with serve(user_limit={"requests": 2, "per_s": 60}) as client:
        await client.post("/v1/chat", json=CHAT, headers=bearer("service"))
        await client.get("/v1/users/mina/sessions", headers=bearer("user"))
        refused = await client.post("/v1/chat/completions", json=COMPLETION, headers=bearer("user"))
        assert code(refused) == (429, "rate_limited")
        assert 25 <= int(refused.headers["retry-after"]) <= 30
        other = await client.get("/v1/users/jun/sessions", headers=bearer("service"))
        assert (other.status_code, left(other)) == (200, (2, 1))


async def test_too_many_requests_of_a_key_are_refused_whoever_they_are_about(serve):
    async with serve(key_limit={"requests": 2, "per_s": 60}) as client:
        passed = [await client.get(f"/v1/users/u{n}/sessions", headers=bearer("service")) for n in range(2)]
        assert [left(response) for response in passed] == [(2, 1), (2, 0)]
        refused = await client.get("/v1/users/u3/sessions", headers=bearer("service"))
        assert code(refused) == (429, "rate_limited")
        assert 25 <= int(refused.headers["retry-after"]) <= 30
        assert (await client.get("/v1/users/mina/sessions", headers=bearer("user"))).status_code == 200


async def test_an_administrators_key_has_its_limit_too(serve):
    async with serve(key_limit={"requests": 1, "per_s": 60}) as client:
        assert (await client.get("/v1/admin/sanctions", headers=bearer("admin"))).status_code == 200
        assert code(await client.get("/v1/admin/appeals", headers=bearer("admin"))) == (429, "rate_limited")


async def test_a_stream_says_what_is_left_and_is_refused_by_its_status(serve):
    async with serve(user_limit={"requests": 1, "per_s": 60}) as client:
        body = COMPLETION | {"stream": True}
        response = await client.post("/v1/chat/completions", json=body, headers=bearer("user"))
        assert (response.status_code, left(response)) == (200, (1, 0))
        refused = await client.post("/v1/chat/completions", json=body, headers=bearer("user"))
        assert code(refused) == (429, "rate_limited")


async def test_a_wrong_key_takes_nothing_from_a_users_limit(serve):
    async with serve(user_limit={"requests": 1, "per_s": 60}) as client:
        await client.post("/v1/chat", json=CHAT, headers={"authorization": "Bearer wrong"})
        await client.post("/v1/chat", json=CHAT, headers=bearer("admin"))
        assert (await client.post("/v1/chat", json=CHAT, headers=bearer("user"))).status_code == 200


async def test_without_keys_the_limit_of_a_user_holds_all_the_same(serve):
    async with serve(keys=[], user_limit={"requests": 1, "per_s": 60}) as client:
        assert (await client.post("/v1/chat", json=CHAT)).status_code == 200
        assert code(await client.post("/v1/chat", json=CHAT)) == (429, "rate_limited")


async def test_without_limits_no_reply_mentions_one(serve):
    async with serve(user_limit=None, key_limit=None) as client:
        response = await client.post("/v1/chat", json=CHAT, headers=bearer("user"))
    assert response.status_code == 200
    assert not [name for name in response.headers if name.startswith("ratelimit")]


# ---------------------------------------------------------------- pages of other origins


def allowed(response: httpx.Response) -> str | None:
    return response.headers.get("access-control-allow-origin")


async def asked_from(client: httpx.AsyncClient, origin: str) -> dict[str, httpx.Response]:
    """Replies and errors of every kind to a page of ``origin``."""
    ours = bearer("user") | {"origin": origin}
    return {
        "reply": await client.post("/v1/chat", json=CHAT, headers=ours),
        "stream": await client.post("/v1/chat", json=CHAT | {"stream": True}, headers=ours),
        "no key": await client.post("/v1/chat", json=CHAT, headers={"origin": origin}),
        "wrong field": await client.post("/v1/chat", json=CHAT | {"colour": 1}, headers=ours),
        "large body": await client.post("/v1/chat", content=b"x" * 70_000, headers=ours),
        "large headers": await client.get("/v1/models", headers=ours | {"x-large": "x" * 20_000}),
        "nowhere": await client.get("/nowhere", headers=ours),
    }


async def test_a_page_of_an_allowed_origin_may_read_replies_and_errors(serve):
    async with serve(cors_origins=[PAGE]) as client:
        responses = await asked_from(client, PAGE)
    assert {name: response.status_code for name, response in responses.items()} == {
        "reply": 200, "stream": 200, "no key": 401, "wrong field": 422, "large body": 413, "large headers": 431,
        "nowhere": 404,
    }  # fmt: skip
    assert {name: allowed(response) for name, response in responses.items()} == dict.fromkeys(responses, PAGE)
    exposed = responses["reply"].headers["access-control-expose-headers"].lower()
    assert {"x-request-id", "retry-after", "ratelimit-remaining"} <= {name.strip() for name in exposed.split(",")}


async def test_a_page_of_another_origin_may_read_nothing(serve):
    async with serve(cors_origins=[PAGE]) as client:
        responses = await asked_from(client, "https://other.example")
    assert {name: allowed(response) for name, response in responses.items()} == dict.fromkeys(responses)


async def test_without_configured_origins_no_page_may(serve):
    async with serve() as client:
        responses = await asked_from(client, PAGE)
    assert {name: allowed(response) for name, response in responses.items()} == dict.fromkeys(responses)


def preflight(origin: str, method: str = "POST") -> dict[str, str]:
    return {
        "origin": origin,
        "access-control-request-method": method,
        "access-control-request-headers": "authorization, content-type, idempotency-key, x-session-id",
    }


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
async def test_a_preflight_of_an_allowed_origin_passes_without_a_key(serve, method):
    async with serve(cors_origins=[PAGE]) as client:
        response = await client.options("/v1/chat", headers=preflight(PAGE, method))
    assert (response.status_code, allowed(response)) == (200, PAGE)
    assert method in response.headers["access-control-allow-methods"]
    assert response.headers["x-request-id"]


@pytest.mark.parametrize("headers", [preflight("https://other.example"), preflight(PAGE, "PUT")])
async def test_a_preflight_of_anything_else_does_not(serve, headers):
    async with serve(cors_origins=[PAGE]) as client:
        response = await client.options("/v1/chat", headers=headers)
    assert response.status_code == 400


async def test_the_origins_may_change_while_it_runs(store):
    models = await LocalModels.create()
    service = LocalService(models, store)
    transport = httpx.ASGITransport(http.create_app(service))
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers={"origin": PAGE}) as client:
        assert allowed(await client.get("/livez")) is None
        service.conversation.settings = IngressSettings.model_validate({"access": {"cors_origins": [PAGE]}})
        assert allowed(await client.get("/livez")) == PAGE
        service.conversation.settings = IngressSettings()
        assert allowed(await client.get("/livez")) is None
