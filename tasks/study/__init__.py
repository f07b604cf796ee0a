"""Studies: a question as a file, its cells, and what came of them."""
