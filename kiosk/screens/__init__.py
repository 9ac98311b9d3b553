"""Screens: draw the views. They know no network; what a person taps leaves as an action."""
