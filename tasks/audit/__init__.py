"""The audit of a log: how noisy it is, and which of its interactions, users and items are the most suspicious."""
