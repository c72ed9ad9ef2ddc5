"""Completion of command lines: the engine, how bash splits words, and a script for each shell."""
