#!/usr/bin/env bash
# Game of 24 from nothing to a table and a picture, on this machine's devices.
#
#   [PYTHON=python3.12] [EXTRAS=cuda] [RUN_DIR=runs/game24] bash launch/local.sh [--field.path value ...]
#
# What follows goes to `rlsearch train`. Started again, it resumes where it was.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

run_dir=${RUN_DIR:-runs/game24}
install "${EXTRAS:-}"
"$VENV/bin/rlsearch" train configs/game24.py --run-dir "$run_dir" "$@"
"$VENV/bin/rlsearch" evaluate "$run_dir"
echo "the table (JSON) and the picture (PNG) are in $run_dir/evaluations/"
