"""A run as a whole: configuration, desks, journal, and how it stands."""
