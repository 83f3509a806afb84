"""The best prices of assets across venues."""
