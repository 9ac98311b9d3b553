"""Training of the networks on virtual patients: ``python -m models.training``."""
