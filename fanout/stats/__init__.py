"""What is counted and measured, and the snapshots in which others see it."""
