"""The gate in front of a container's command: judge the declared intent, then hand over.

`gate` examines and judges, `ready` keeps the readiness file, `handover` becomes the command or starts the minimal init;
`health` says what a health check asks of it afterwards.
"""
