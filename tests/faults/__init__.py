"""Trials of the fault plan that run outside pytest."""
