"""The main job end to end with real peers: ``make demo``."""
