#!/bin/sh
# Build the environment for comparisons with ptychi on CPU: `sh benchmarks/peer/setup.sh [DIR]` (default .venv-peer).
# It is kept apart from the package's own environment, because ptychi asks for torchvision, whose wheels are linked
# to CUDA. ptychi is installed without its dependencies; `benchmarks/peer/torchvision` stands in for that one import.
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")/../.." && pwd)
env=${1:-"$root/.venv-peer"}
stamp="$env/.peer-ready"
wanted=$(cksum < "$0")
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
    echo "$env is ready"
    exit 0
fi
[ -x "$env/bin/python" ] || "${PYTHON:-python3}" -m venv "$env"
pip="$env/bin/python -m pip install --quiet --disable-pip-version-check"
constraints=""
[ -f "$root/constraints.txt" ] && constraints="--constraint $root/constraints.txt"
# The torch of the package's own environment, so that both solvers run on the same build.
$pip $constraints "torch==2.13.0" ${PEER_TORCH_INDEX:+--index-url "$PEER_TORCH_INDEX"}
# What ptychi and ptypinn import on the benchmarked paths.
$pip $constraints numpy scipy h5py hdf5plugin pandas tqdm matplotlib tifffile scikit-image scikit-learn "pydantic>=2,<3" \
    "safetensors>=0.5" "lightning>=2.6" rich \
    jaxtyping beartype pytest hypothesis
$pip --no-deps --editable "$root"
$pip --no-deps "ptychi==2.2.0"
PYTHONPATH="$root/benchmarks/peer" "$env/bin/python" -W ignore -c "from ptychi.api.task import PtychographyTask; import ptypinn"
echo "$wanted" > "$stamp"
echo "$env is ready: PYTHONPATH=$root/benchmarks/peer $env/bin/python benchmarks/lsqml_baseline.py"
