"""One numbering: its header, its log, and the one who writes them."""
