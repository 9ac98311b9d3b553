"""The networks, in torch: one file each, with its classes, channels, spacing and value range."""
