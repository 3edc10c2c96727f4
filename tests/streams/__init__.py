"""A fleet of real servers in network namespaces, which dial each other all the time while certificates change."""
