"""Mending the environment under test: a plan of what is safe, carried out step by step, with a way back."""
