"""Checks: one file an area; each function judges facts and never touches the machine."""
