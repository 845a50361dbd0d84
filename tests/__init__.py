"""The tests: the manual of what the product promises."""
