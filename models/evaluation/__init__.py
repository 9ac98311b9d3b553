"""How good the networks are on virtual patients: ``python -m models.evaluation``."""
