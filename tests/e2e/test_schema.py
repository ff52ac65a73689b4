"""Thousands of generated requests against the served schema: no crash, no reply that the schema does not describe."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import System

LEAST_CASES = 2000
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance"


class FakeSystem(System):
    """The shipped file on the shipped fake models: what stands around the models is what is tested here."""

    def _file(self) -> dict[str, Any]:
        file = super()._file()
        app = file["applications"][0]
        models = {name: {"engine": "fake", "base": "none"} for name in ("answer", "summary", "memory", "pose")}
        encoders = {name: {"engine": "fake", "model": "none"} for name in ("memory_sbert", "ethics_sbert", "rag_sbert")}
        encoders["rag_sbert"]["documents"] = "models/tiny/documents"
        app["args"] = {"profile": "cpu", "data_dir": app["args"]["data_dir"], "cpu": models | encoders}
        for deployment in app["deployments"]:
            if deployment["name"] == "Ingress":
                deployment["user_config"]["access"] = {"user_limit": None}
        return file


@pytest.fixture(scope="module")
def fakes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeSystem]:
    system = FakeSystem(tmp_path_factory.mktemp("fakes"))
    system.start()
    yield system
    system.stop()


def test_generated_requests_find_no_crash_and_no_reply_that_the_schema_does_not_know(fakes):
    st = Path(sys.executable).parent / "st"
    command = [
        str(st), "run", f"{fakes.address}/openapi.json", "--checks", CHECKS, "--max-examples", "100",
        "--generation-deterministic", "--no-color",
    ]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True, timeout=900, cwd=fakes.folder)
    assert run.returncode == 0, run.stdout[-20000:] + run.stderr[-2000:]
    counted = re.search(r"(\d[\d,]*) generated", run.stdout)
    assert counted, run.stdout[-3000:]
    assert int(counted[1].replace(",", "")) >= LEAST_CASES
