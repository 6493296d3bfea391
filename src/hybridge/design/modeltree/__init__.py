"""Model trees: partition and compression searched together, per kind of network."""
