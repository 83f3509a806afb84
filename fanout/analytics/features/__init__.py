"""The features of order books and trades, kept step by step, and their exact definitions."""
