#!/usr/bin/env bash
# Game of 24 from nothing to a table and a picture, on this machine's devices.
#
#   [PYTHON=python3.12] [EXTRAS=cuda] [RUN_DIR=runs/game24] [CONFIG=configs/game24.py] \
#     bash launch/local.sh [--processes N [--devices D] [--restarts R]] [--field.path value ...]
#
# With --processes, training runs in N processes of D devices each: GPUs, or fake ones where there
# is only a CPU. When one dies, all start again from the last checkpoint, at most R times. What
# follows goes to `rlsearch train`. Started again, it resumes where it was.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

run_dir=${RUN_DIR:-runs/game24}
processes='' several=() fields=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --processes | --devices | --restarts)
      [[ ${2:-} =~ ^[0-9]+$ ]] || fail "$1 is '${2:-}': it must be a whole number"
      [[ $1 != --processes ]] || processes=$2
      several+=("$1" "$2")
      shift 2
      ;;
    *)
      fields+=("$1")
      shift
      ;;
  esac
done
[[ -n $processes || ${#several[@]} -eq 0 ]] || fail "${several[0]} is for several processes: give --processes too"

install "${EXTRAS:-}"
train=("$VENV/bin/rlsearch" train "${CONFIG:-configs/game24.py}" --run-dir "$run_dir" "${fields[@]}")
if [[ -n $processes ]]; then
  train=("$VENV/bin/python" -m rlsearch.parallel.supervisor "${several[@]}" -- "${train[@]}")
fi
"${train[@]}"
"$VENV/bin/rlsearch" evaluate "$run_dir"
echo "the table (JSON) and the picture (PNG) are in $run_dir/evaluations/"
