"""A synthetic market, hours of its history, and the traffic of the demo."""
