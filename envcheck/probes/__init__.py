"""Probes: one file a subject; each function asks the machine for one fact group."""
