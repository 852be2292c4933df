"""What it costs, beside Docker's own drivers, in one laboratory. Owns the figures and their targets."""
