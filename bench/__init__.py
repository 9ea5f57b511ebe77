"""Benchmarks of deepgen, run from the project's root. Not part of the installed package."""
