"""What a run writes: metrics, images, progress lines and a report."""
