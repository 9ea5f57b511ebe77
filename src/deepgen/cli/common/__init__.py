"""What commands share: arguments, rows in files, settings of models, what is printed."""
