"""How each kind of model stands in a file."""
