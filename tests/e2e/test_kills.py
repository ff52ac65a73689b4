"""A short run of the kill test; benchmarks/README.md has the long one."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_no_turn_is_lost_doubled_or_half_kept_when_processes_die():
    command = [sys.executable, "-m", "benchmarks.kills", "--kills", "12", "--users", "6"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert run.returncode == 0, run.stdout + run.stderr[-3000:]
    kills, turns, wrong = run.stdout.strip().splitlines()
    assert kills.startswith("12 kills")
    assert int(turns.split()[0]) > 6, "users were answered meanwhile"
    assert wrong.startswith("0 lost, 0 doubled, 0 half")
