"""What all rooms share: exports and their versions, errors, and how numbers read."""
