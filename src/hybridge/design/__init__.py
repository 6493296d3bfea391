"""The wing that makes plans: networks, training, search, export. Needs torch."""
