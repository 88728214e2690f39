#!/usr/bin/env bash
# Lint, types and the quick tests; with --slow the slow tests alone.
#
#   [PYTHON=python3.12] [EXTRAS=cuda] bash launch/test.sh [--slow]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[[ $# -eq 0 || ($# -eq 1 && $1 == --slow) ]] || fail "the arguments are '$*': only --slow is known"
install "${EXTRAS:+$EXTRAS,}test"
tests=slow
if [[ $# -eq 0 ]]; then
  tests='not slow'
  "$VENV/bin/ruff" check .
  "$VENV/bin/ruff" format --check .
  "$VENV/bin/pyright" --pythonpath "$VENV/bin/python"
fi
# A file stays on one worker: its tests share runs that they train and programs that they compile.
exec "$VENV/bin/pytest" -q -n 2 --dist loadfile -m "$tests"
