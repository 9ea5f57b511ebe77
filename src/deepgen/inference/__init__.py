"""Models given rows: samples, completions, posteriors, free energies."""
