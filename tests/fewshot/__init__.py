"""Tests of lightning_lde.fewshot."""
