"""Inference engines behind one protocol: a network in, arrays out, no clinical words."""
