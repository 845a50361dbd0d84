"""What happens: a verb a module, readable in one screen, and `notebook`, which runs `submit` from Python.

A verb is a flow, or a plain function where it only looks at something or prepares a server (CONTRIBUTING.md, "Add a
verb").
"""
