"""Noise models: which interactions of a log are genuine, one a file."""
