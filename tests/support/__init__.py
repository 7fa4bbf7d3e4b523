"""Helpers of the tests; importable as ``support`` (pytest's ``pythonpath`` has ``tests``)."""
