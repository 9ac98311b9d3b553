"""Update, diagnostics, self-test."""
