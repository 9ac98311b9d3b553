"""Virtual patients and the networks that learn from them. Nothing here runs on the appliance but the weights."""
