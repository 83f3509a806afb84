"""What Binance's venues have in common: live requests, queries, error bodies. It is no dialect."""
