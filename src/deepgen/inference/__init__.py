"""What a model means for rows: samples, completions, posteriors, free energies."""
