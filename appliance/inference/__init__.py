"""Running networks: the model catalog, the engines, and the sliding window. Knows arrays and models, nothing clinical."""
