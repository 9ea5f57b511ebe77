"""How each model is written into a file, and built from one: a schema for each class of models."""
