"""The sections of a fine-tuned run's page, a function each: from a run to its content, or why there is none."""
