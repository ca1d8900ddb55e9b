"""Tests of lightning_lde.recording."""
