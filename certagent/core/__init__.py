"""The pure core: values, and functions of values. No clock, file, process, network, random or logging."""
