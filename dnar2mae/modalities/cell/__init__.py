"""Single cells: expression of genes, from AnnData and 10x files."""
