"""HTTP: requests as they come, and the service's answers about itself."""
