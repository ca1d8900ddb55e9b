#!/bin/sh
# Builds sdist and wheel, installs the wheel in an empty environment and runs the command there.
set -eu
: "${BIN:=.venv/bin}" "${PYTHON:=python3}" "${TORCH:=torch}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
constraints=$(pwd)/constraints.txt

"$BIN/python" -m build --outdir "$work/dist" .
"$PYTHON" -m venv "$work/venv"
"$work/venv/bin/python" -m pip --disable-pip-version-check install -q "$TORCH"
"$work/venv/bin/python" -m pip --disable-pip-version-check install -q -c "$constraints" "$work"/dist/*.whl

cd "$work" # away from the checkout, so that the installed package is meant
venv/bin/lde --help
venv/bin/lde init lake
venv/bin/lde sql lake "select count(*) as runs from runs"
venv/bin/python -c "from lightning_lde import Lake, LDECallback; print(LDECallback.__module__, Lake('lake'))"
venv/bin/python -c "import jinja2; from lightning_lde import ui; print(jinja2.PackageLoader('lightning_lde.ui').list_templates())"
