"""A synthetic computation for tests of the task protocol: slow, failing or deadly as the task's input says.

It stands in for the child (`python -m tests.support.slow_engine.child`); supervisor, queue and bucket are real.
"""
