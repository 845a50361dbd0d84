"""Scripts for the interpreter that has upstream THOR. They import nothing of ours, and nothing of ours imports them."""
