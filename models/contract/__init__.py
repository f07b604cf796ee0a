"""What a recommender and a noise model have to keep to, asked of those that lie outside this project."""
