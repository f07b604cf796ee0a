"""Speed and cost, side by side with a bare loop: sides alternated in one run, medians, the same threads."""
