"""What the stage `ring` runs in processes of its own."""
