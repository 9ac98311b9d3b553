"""Coronet, the coronary CT appliance. ARCHITECTURE.md draws the floors of this package."""

__version__ = "0.1.0"
