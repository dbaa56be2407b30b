"""Jupyter on this machine: kernels, what each runs, whether it starts; and the report inside a notebook."""
