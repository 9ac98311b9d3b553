"""Proof by fault: processes killed, power cut, inputs mutated. ``python -m tests.faults`` runs all campaigns and prints what was tried."""
