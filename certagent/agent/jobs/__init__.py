"""Work that may wait on somebody else, off the deciding thread."""
