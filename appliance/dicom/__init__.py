"""DICOM networking: receiver, sender, print client."""
