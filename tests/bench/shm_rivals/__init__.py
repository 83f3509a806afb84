"""Who takes part in the stage `shm`: both ends of each way from one process to another, and the
pair of processes that they are measured between."""
