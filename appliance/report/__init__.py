"""Report text, PDF and DICOM objects from findings."""
