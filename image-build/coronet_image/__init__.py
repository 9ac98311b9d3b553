"""Builds the bootable image of the box: read-only verified root A and B, loader, encrypted data partition. See image-build/README.md."""
