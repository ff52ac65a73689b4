"""The chat page: what is served, and that it needs and may reach nothing but its own server."""

import re
import shutil
import subprocess
import tomllib
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest

from deployments import http
from deployments.config import IngressSettings

WEB = Path(http.__file__).with_name("web")
TYPES = {
    ".html": {"text/html"},
    ".css": {"text/css"},
    ".js": {"text/javascript", "application/javascript"},
    ".svg": {"image/svg+xml"},
}
FILES = sorted(path.name for path in WEB.iterdir())
# A name of a vocabulary, which nobody fetches.
SVG = "http://www.w3.org/2000/svg"


class Service:
    """The page asks nothing of the service."""

    settings = IngressSettings()
    records: Any = None

    async def _never(self, *_: Any) -> Any:
        raise AssertionError

    chat = ready = _never
    events: Any = _never


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(http.create_app(Service()))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


class Page(HTMLParser):
    """Attributes of a page that name files, and what a strict policy would not run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.files: list[str] = []
        self.inline: list[str] = []
        self.ids: list[str] = []
        self.named: list[str] = []
        self.keys: dict[str, str | None] = {}
        self.greetings: set[str | None] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if "key" in (given.get("id") or "") and tag == "input":
            self.keys[given["id"] or ""] = given.get("type")
        if "data-greeting" in given:
            self.greetings.add(given["data-greeting"])
        for name, value in attrs:
            if name in ("src", "href") and value and not value.startswith("#"):
                self.files.append(value)
            if name == "style" or name.startswith("on"):
                self.inline.append(f"{tag} {name}")
            if name == "id" and value:
                self.ids.append(value)
            if name in ("for", "aria-labelledby", "aria-describedby", "aria-controls") and value:
                self.named += value.split()
        if tag == "style" or (tag == "script" and "src" not in given):
            self.inline.append(tag)


PAGE = Page((WEB / "index.html").read_text())


def policy(response: httpx.Response) -> dict[str, str]:
    parts = (part.strip().partition(" ") for part in response.headers["content-security-policy"].split(";"))
    return {name: sources for name, _, sources in parts}


async def test_the_page_is_served_in_korean(client):
    response = await client.get("/")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert '<html lang="ko">' in response.text


async def test_the_page_answers_head(client):
    response = await client.head("/")
    assert (response.status_code, response.content) == (200, b"")


@pytest.mark.parametrize("name", FILES)
async def test_a_file_is_served_with_its_type(client, name):
    response = await client.get(f"/web/{name}")
    assert response.status_code == 200
    assert response.headers["content-type"].split(";")[0] in TYPES[Path(name).suffix]
    assert response.content == (WEB / name).read_bytes()


async def test_everything_the_page_names_is_there(client):
    assert sorted(PAGE.files) == ["web/chat.js", "web/icon.svg", "web/style.css"]
    for file in PAGE.files:
        assert (await client.get(f"/{file}")).status_code == 200


@pytest.mark.parametrize("name", FILES)
def test_no_file_names_another_place(name):
    text = (WEB / name).read_text().replace(SVG, "")
    assert not re.findall(r"(?:[a-z]+:)?//[\w.-]+\.\w+|@import|url\(\s*['\"]?(?!#)\w", text)


@pytest.mark.parametrize("path", ["/", "/web/chat.js", "/web/index.html"])
async def test_the_page_may_reach_only_its_own_server(client, path):
    found = policy(await client.get(path))
    assert found["default-src"] == "'none'"
    assert {found[name] for name in ("script-src", "style-src", "img-src", "connect-src")} == {"'self'"}
    assert {found[name] for name in ("base-uri", "form-action", "frame-ancestors")} == {"'none'"}


def test_the_policy_would_stop_nothing_of_the_page():
    assert PAGE.inline == []


def test_text_is_never_set_as_markup():
    script = (WEB / "chat.js").read_text()
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|DOMParser", script)


@pytest.mark.skipif(shutil.which("node") is None, reason="no node to read the script")
def test_the_script_can_be_read():
    script = (WEB / "chat.js").read_bytes()
    read = subprocess.run(["node", "--check", "--input-type=module"], input=script, capture_output=True, timeout=60)
    assert read.returncode == 0, read.stderr.decode()


def test_a_key_is_typed_unseen_and_kept_for_the_tab_only():
    assert PAGE.keys == {"key": "password", "ask-key-value": "password"}
    script = (WEB / "chat.js").read_text()
    assert not re.findall(r"console\.|document\.cookie|history\.\w+State|location\b", script)
    assert 'perTab("key", ' in script
    assert 'local("key"' not in script


def test_whatever_is_asked_of_the_server_carries_the_key():
    calls = re.findall(r"\bfetch\(.*?\);", (WEB / "chat.js").read_text(), re.DOTALL)
    assert len(calls) == 2
    assert all("headers: sent" in call or "headers: bearer(access.value)" in call for call in calls)


def test_each_persona_has_a_name_and_a_greeting():
    script = (WEB / "chat.js").read_text()
    assert PAGE.greetings == {"ohlora", "tutor"}
    assert 'const NAMES = new Map([[FIRST, "오로라"], ["tutor", "튜터"]]);' in script
    assert 'const FIRST = "ohlora";' in script


def test_ids_are_unique_and_what_refers_to_them_is_right():
    assert len(PAGE.ids) == len(set(PAGE.ids))
    assert set(PAGE.named) <= set(PAGE.ids)
    used = set(re.findall(r'\$\("([\w-]+)"\)', (WEB / "chat.js").read_text()))
    assert used <= set(PAGE.ids)


@pytest.mark.parametrize("path", ["/web/", "/web/nothing.js", "/web/../http.py", "/web/%2e%2e/http.py"])
async def test_nothing_else_is_served(client, path):
    response = await client.get(path)
    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


async def test_the_page_is_not_part_of_the_api(client):
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert not [path for path in paths if path == "/" or path.startswith("/web")]


def test_the_files_are_in_the_package(project):
    config = tomllib.loads((project / "pyproject.toml").read_text())
    assert "web/*" in config["tool"]["setuptools"]["package-data"]["deployments"]
