"""Files: models and checkpoints of runs, their format, and how they are written."""
