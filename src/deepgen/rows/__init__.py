"""What is read: rows of data in the forms that kernels take, and their order."""
