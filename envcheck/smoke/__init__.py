"""The smoke training: the reference network, trained for a few seconds in the interpreter under test."""
