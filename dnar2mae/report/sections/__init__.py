"""The sections of a page, a function each: from a run to its content, or an error that says why there is none."""
