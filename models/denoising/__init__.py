"""Gates, their gradient estimators, and the wrapper that puts them into a backbone's attention."""
