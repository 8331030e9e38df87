"""A trained masked model as a density: exact likelihoods and the bound, sequences drawn from it, gaps filled."""
