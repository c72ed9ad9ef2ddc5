"""The screen of `qtctl top`: the terminal, the drawing, the poller behind it, and the view."""
