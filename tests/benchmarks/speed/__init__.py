"""What the benchmarks of speed share: measuring, items, and their report."""
