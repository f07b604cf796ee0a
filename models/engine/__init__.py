"""Sequences, batches, losses, the training loop, ranking and its metrics."""
