"""The workloads of the smoke suite: data, and the network in each framework."""
