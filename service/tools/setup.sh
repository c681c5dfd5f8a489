#!/bin/sh
# Make the virtual environment .venv and install the locked packages of requirements/$1.txt, paceline
# from wheels/, and this project in editable form. Needs nothing but a Python >= 3.11 with its venv
# module. Does nothing twice: it is called only when a lock or the wheel has changed.
set -eu
lock=$1
venv=.venv
cd "$(dirname "$0")/.."

find_python() {
  for name in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11 python; do
    if command -v "$name" >/dev/null 2>&1 &&
      "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$name"
      return
    fi
  done
}

set -- wheels/paceline-*.whl
if [ ! -f "$1" ] || [ $# -ne 1 ]; then
  [ -f "$1" ] || set -- nothing
  echo "wheels/ must hold one wheel of paceline, and holds $*. Take it from git; in the repository of" >&2
  echo "paceline, which has none, call make in the root folder." >&2
  exit 1
fi

if [ ! -x "$venv/bin/pip" ]; then
  python=$(find_python)
  if [ -z "$python" ]; then
    echo "Python 3.11 or newer is needed. Install it, or name one: make PYTHON=/path/to/python3 …" >&2
    exit 1
  fi
  echo "Creating $venv with $("$python" --version) …"
  rm -rf "$venv"
  if ! "$python" -m venv "$venv"; then
    rm -rf "$venv"
    echo "$python has no venv module. On Debian or Ubuntu: apt install python3-venv" >&2
    exit 1
  fi
fi

echo "Installing $(grep -c '==' "requirements/$lock.txt") locked packages (once) …"
pip() { "$venv/bin/pip" install --quiet --disable-pip-version-check "$@"; }
pip --require-hashes -r "requirements/$lock.txt"
pip --no-deps --force-reinstall "$1"
pip --no-deps --no-build-isolation -e .
