"""Private synthetic data, robust classifiers, tiny firmware."""
