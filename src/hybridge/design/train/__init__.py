"""Training: batches, epochs, checkpoints, and outputs that are kept."""
