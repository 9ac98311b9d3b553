"""Real and scripted DICOM peers for tests: all listen on loopback, on free ports, and have answered before they are handed out."""
