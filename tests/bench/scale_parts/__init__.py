"""The parts of the stage `scale`: an exchange with many symbols, the service, and one consumer."""
