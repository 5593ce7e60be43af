"""What results say: curves, the paper's claims and their verdicts, comparisons."""
