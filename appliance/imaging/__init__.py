"""Pictures from a volume and its findings."""
