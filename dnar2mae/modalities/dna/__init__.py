"""DNA: windows of genomes as tokens."""
