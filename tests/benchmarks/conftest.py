"""Benchmarks are programs; pytest leaves them alone, its doctests too."""

collect_ignore_glob = ["*.py"]
