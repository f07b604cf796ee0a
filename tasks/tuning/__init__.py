"""Searches: each method's best settings on validation, the same budget for all, and what came of it."""
