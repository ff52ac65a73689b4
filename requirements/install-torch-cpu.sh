#!/usr/bin/env bash
# Installs the CPU build of torch. PIP and TORCH_INDEX come from the Makefile.
#
# The hash in torch-cpu.txt is that of the wheel for Python 3.11 on x86-64; other versions of Python get the same release
# without a hash check, from the same index. PyTorch's index is asked only when pip's own sources have no CPU build, so that
# an index that can't be reached breaks nothing.
set -u
cd "$(dirname "$0")/.."
pin=$(grep -o '^torch==[^ ]*' requirements/torch-cpu.txt)
if [ "$($PIP --version | grep -o 'python 3\.[0-9]*')" = "python 3.11" ]; then
  wanted=(--require-hashes -r requirements/torch-cpu.txt)
else
  wanted=("$pin")
fi
try() { $PIP install --no-deps --progress-bar on "$@" "${wanted[@]}"; }
try -q 2>/dev/null && exit 0
echo "pip's own sources have no $pin; asking PyTorch's index …"
try --extra-index-url "$TORCH_INDEX" && exit 0
echo "error: $pin could not be installed. Give pip a source of PyTorch's CPU builds: PIP_FIND_LINKS=/folder/of/wheels make …, or TORCH_INDEX=…" >&2
exit 1
