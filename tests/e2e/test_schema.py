"""Thousands of generated requests against the served schema: no crash, no reply that the schema does not describe."""

import re
import subprocess
import sys
from pathlib import Path

LEAST_CASES = 2000
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance"


def test_generated_requests_find_no_crash_and_no_reply_that_the_schema_does_not_know(fake_system):
    st = Path(sys.executable).parent / "st"
    command = [
        str(st), "run", f"{fake_system.address}/openapi.json", "--checks", CHECKS, "--max-examples", "100",
        "--generation-deterministic", "--no-color",
    ]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True, timeout=900, cwd=fake_system.folder)
    assert run.returncode == 0, run.stdout[-20000:] + run.stderr[-2000:]
    counted = re.search(r"(\d[\d,]*) generated", run.stdout)
    assert counted, run.stdout[-3000:]
    assert int(counted[1].replace(",", "")) >= LEAST_CASES
