# shellcheck shell=bash
# Sourced by the scripts of this folder. Afterwards the current directory is the repository's root
# and VENV is the virtual environment, which `install EXTRAS` fills.
#
# PYTHON  the Python that .venv is made with, at least 3.11; by default python3
# EXTRAS  extras of pyproject.toml to install, with commas between, such as cuda
# VENV    a virtual environment of yours that has rlsearch; then nothing is installed

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
READY=${VENV:-}
VENV=${VENV:-$ROOT/.venv}
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

# Does what its arguments say, or prints it where DRY_RUN is not empty.
act() {
  if [[ -z ${DRY_RUN:-} ]]; then
    "$@"
    return
  fi
  local word words=()
  for word in "$@"; do
    [[ $word =~ ^[A-Za-z0-9_./:=@%+,-]+$ ]] || word=${word@Q}
    words+=("$word")
  done
  echo "${words[*]}"
}

# Fails unless the variable $1 is set; $2 says what it is.
need() {
  [[ -n ${!1:-} ]] || fail "$1 is not set: it is $2"
}

# Takes --dry-run from the arguments, and leaves the others in ARGUMENTS.
take_dry_run() {
  local argument
  DRY_RUN='' ARGUMENTS=()
  for argument in "$@"; do
    if [[ $argument == --dry-run ]]; then DRY_RUN=yes; else ARGUMENTS+=("$argument"); fi
  done
}

# Installs the package with the extras $1 into .venv, unless that is done and still holds.
install() {
  if [[ -n $READY ]]; then
    [[ -x $VENV/bin/rlsearch ]] || fail "VENV is '$VENV', which has no bin/rlsearch"
    return
  fi
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
