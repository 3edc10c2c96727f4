"""Jobs that may wait for other systems, off the deciding thread."""
