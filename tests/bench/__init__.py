"""Measurements, never tests: ``make bench`` writes ``build/bench.json``."""
