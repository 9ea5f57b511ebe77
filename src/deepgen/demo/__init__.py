"""What ``deepgen demo`` shows: a tour that ends in pictures, and a page that one can draw on."""
