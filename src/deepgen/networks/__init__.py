"""Functions over networks: losses, objectives, penalties, what they read."""
