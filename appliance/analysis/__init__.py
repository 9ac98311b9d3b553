"""The stages of the analysis; pipeline.py lists them like a table of contents."""
