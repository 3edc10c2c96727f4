"""What a process serves, asked by handshakes. Whatever a server answers is parsed in a child, under one deadline."""
