"""Front panel, badge reader, UPS and GPU health."""
