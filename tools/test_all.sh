#!/bin/sh
# Run all tests with each Python that the project supports and this machine has, pyenv's included,
# each in an environment of its own: .venv-3.13 and so on. Says what it found and what it skipped.
# Words given to it go to pytest. Called by `make test-all`.
set -eu
cd "$(dirname "$0")/.."
supported="3.11 3.12 3.13 3.14"

find_python() { # of this version: a path, or nothing
  for python in "$(command -v "python$1" || true)" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python; do
    # One of pyenv's shims is there for versions that are not chosen, too, and then does not run.
    if [ -x "$python" ] && [ "$("$python" -c \
      'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$1" ]; then
      echo "$python"
      return
    fi
  done
}

found=""
for version in $supported; do
  python=$(find_python "$version")
  if [ -n "$python" ]; then
    echo "Python $version: $python"
    found="$found $version"
  else
    echo "Python $version: not found, skipped"
  fi
done
if [ -z "$found" ]; then
  echo "None of Python $supported was found." >&2
  exit 1
fi

failed=""
for version in $found; do
  venv=.venv-$version
  fresh=yes
  for file in requirements/dev.txt kit/pyproject.toml service/pyproject.toml tools/setup.sh; do
    [ "$venv/.dev" -nt "$file" ] || fresh=""
  done
  if [ -z "$fresh" ]; then
    PYTHON=$(find_python "$version") tools/setup.sh dev "$venv"
    touch "$venv/.dev"
  fi
  echo "== $("$venv/bin/python" --version)"
  "$venv/bin/pytest" -n 2 "$@" || failed="$failed $version"
done

[ -z "$failed" ] || { echo "The tests fail on Python$failed." >&2; exit 1; }
echo "The tests pass on Python$found."
