"""Film pages from key views and findings."""
