"""Sweeps: one strategy over many parameters, instruments and periods, on all cores. The README says what is in it."""
