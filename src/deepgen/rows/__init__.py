"""Rows of data and of states: how they lie in memory, where they come from, in which order."""
