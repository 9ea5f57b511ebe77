"""Machines on top of each other: greedy training, and what is made of a stack."""
