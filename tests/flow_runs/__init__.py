"""Flows and their commands: what a person types, sees and gets as exit code."""
