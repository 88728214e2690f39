# shellcheck shell=bash
# Sourced by the scripts of this folder. Afterwards the current directory is the repository's root
# and VENV is the virtual environment, which `install EXTRAS` fills.
#
# PYTHON  the Python that .venv is made with, at least 3.11; by default python3
# EXTRAS  extras of pyproject.toml to install, with commas between, such as cuda

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=$ROOT/.venv
cd "$ROOT" || exit 1

fail() {
  echo "error: $*" >&2
  exit 2
}

# Major and minor version of the Python at $1, which has the modules $2; nothing if it does not run.
python_version() {
  "$1" -c "import $2; print('%d.%d' % sys.version_info[:2])" 2>/dev/null || true
}

make_venv() {
  local python=${PYTHON:-python3} existing wanted
  existing=$(python_version "$VENV/bin/python" "sys, pip")
  if [[ -n $existing && -z ${PYTHON:-} ]]; then
    return
  fi
  wanted=$(python_version "$python" sys)
  [[ -n $wanted ]] || fail "PYTHON is '$python', which does not run: it must be Python 3.11 or newer"
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "PYTHON is '$python', which is Python $wanted: it must be 3.11 or newer"
  if [[ $existing == "$wanted" ]]; then
    return
  fi
  if [[ -e $VENV ]]; then
    echo "making .venv again: it has ${existing:+Python }${existing:-no working pip}, and $python is Python $wanted" >&2
  fi
  "$python" -m venv --clear "$VENV" || fail "'$python -m venv' did not make $VENV"
}

# Installs the package with the extras $1 into .venv, unless that is done and still holds.
install() {
  make_venv
  local extras=$1 marker state
  marker=$VENV/.installed-${extras:-none}
  # A moved repository breaks the paths in .venv, so its place counts too.
  state=$(cat pyproject.toml launch/constraints.txt - <<<"$ROOT" | cksum)
  if [[ -f $marker && $(<"$marker") == "$state" ]]; then
    return
  fi
  echo "installing rlsearch${extras:+[$extras]} into .venv" >&2
  "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check \
    -c launch/constraints.txt -e ".${extras:+[$extras]}"
  echo "$state" >"$marker"
}
