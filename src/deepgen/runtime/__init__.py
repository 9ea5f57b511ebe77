"""How work is run: threads, random streams, arithmetic, progress."""
