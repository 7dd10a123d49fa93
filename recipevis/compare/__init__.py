"""A page that compares DVC experiments: what differs, paired differences, the same recipes below each other."""
