"""Files: models, states of runs, checkpoints, and how they are written whole."""
