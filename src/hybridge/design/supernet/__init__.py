"""Networks that share weights: the supernet, and what is taken out of it."""
