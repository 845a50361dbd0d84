"""Real services that tests run for themselves: private, on loopback only, gone with the test session."""
