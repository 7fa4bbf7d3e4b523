"""Tension tests of a 6061-T6 plate at four temperatures: the experiment file."""
