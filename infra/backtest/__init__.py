"""Backtests: the live actors over stored market facts, in one process, with a report. The README says what is in it."""
