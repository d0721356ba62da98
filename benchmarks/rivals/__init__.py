"""Other ways to write the same network in C, by our own hand: what generated kernels are compared with."""
