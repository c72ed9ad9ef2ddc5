"""Evidence from the history alone: what was decided over a window, judged again, and whether it is
good enough. No Redis; a copy of the history on another machine gives the same."""
