"""What learns from tasks, as Lightning modules, and how it is evaluated on them."""
