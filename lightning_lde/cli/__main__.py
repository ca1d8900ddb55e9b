"""`python -m lightning_lde.cli`, the same as `lde`."""

from lightning_lde.cli import main

main()
