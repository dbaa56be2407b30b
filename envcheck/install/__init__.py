"""Carrying out a plan: build beside what is there, prove it, swap it in."""
