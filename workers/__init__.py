"""Who runs it: the process that takes tasks from the queue, and the child that computes them."""
