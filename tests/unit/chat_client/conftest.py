"""The client on the path, and a server to talk with."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# The client is a package of its own, which need not be installed to be tested.
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "chat_client"))

from contract_server import ContractServer


@pytest.fixture
def server() -> Iterator[ContractServer]:
    """A server on a free port that speaks the HTTP contract, as scripted by the test."""
    with ContractServer() as running:
        yield running
