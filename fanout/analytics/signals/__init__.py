"""From features to directions and sizes of positions."""
