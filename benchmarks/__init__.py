"""What an endpoint costs, beside Docker's own drivers, in one laboratory. Owns the figures; must not judge them."""
