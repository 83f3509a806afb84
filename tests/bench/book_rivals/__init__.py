"""Other ways to keep an order book, for the stage `book`."""
