"""Benches: of the parts (pytest-benchmark) and of the whole (`load/`); `run.py` runs both."""
