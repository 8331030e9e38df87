"""From results to tables, plots and reports."""
