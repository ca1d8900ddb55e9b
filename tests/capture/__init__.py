"""Tests of lightning_lde.capture."""
