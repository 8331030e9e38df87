"""What happens to long runs: ``make torture``. Every disturbed run must end with the weights of an undisturbed one."""
