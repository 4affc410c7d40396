#!/bin/sh
# Make the virtual environment $1 from the locks in this folder; hashes make the wheels the same on every machine.
set -eu
venv=$1
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)

case $venv in
  /*) environment=$venv ;;
  *) environment=$(pwd)/$venv ;;
esac
# Snakemake starts jobs by commands of the shell with these paths in them, that of the environment without quotes. The same lists
# are in convrfm.replication.cluster.site.
tab=$(printf '\t')
newline='
'
case $here in *[\"\`\$\\{}$tab$newline]*)
  echo "error: jobs could not be started from $here: the characters \" \` \$ \\ { } in its path mean something to the shell." \
    "Move the project to a folder without them." >&2
  exit 1 ;;
esac
case $environment in *[[:space:]\"\'\`\$\\\;\&\|\<\>\(\){}*?:[]*)
  echo "error: jobs could not be started from $environment: spaces, quotes, colons and the characters" \
    "\\ \$ & ; | < > ( ) { } * ? [ \` in its path mean something to the shell. Move the project to a folder without them, or make" \
    "the environment elsewhere: sh envs/setup.sh /another/folder" >&2
  exit 1 ;;
esac

python=
for candidate in "${PYTHON:-}" python3.12 python3.11 python3; do
  if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
if [ -z "$python" ]; then
  echo "error: Python 3.11 or 3.12 is needed, and none was found. Install one, or name it: make PYTHON=/path/to/python3.12" >&2
  exit 1
fi
if [ "$(uname -s)-$(uname -m)" != Linux-x86_64 ]; then
  echo "error: the lock is for Linux on x86-64, and this is $(uname -s) on $(uname -m)." >&2
  exit 1
fi
if ! "$python" -m venv "$venv"; then
  echo "error: no virtual environment could be made. On Debian and Ubuntu: apt-get install python3-venv" >&2
  exit 1
fi
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$here/bootstrap.txt"
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --require-hashes -r "$here/lock.txt"
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --no-deps --no-build-isolation --editable "$here/.."
# What jobs import is compiled here, once: otherwise each of a workflow's many jobs compiles PyTorch wherever Python may not write
# bytecode. The rest of the packages, ten times as much, is compiled when it is used.
PYTHONDONTWRITEBYTECODE= "$venv/bin/python" -c '
import importlib, pkgutil, snakemake.cli, snakemake.script
import convrfm.replication as rooms
for module in pkgutil.walk_packages(rooms.__path__, f"{rooms.__name__}."):
    importlib.import_module(module.name)
'
