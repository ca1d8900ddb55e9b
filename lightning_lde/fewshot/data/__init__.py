"""Sets of samples split by class, and the tasks that are drawn from them."""
