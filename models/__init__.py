"""Everything it takes to train, rank and serve a recommender: torch and numpy, nothing of the pipeline."""
