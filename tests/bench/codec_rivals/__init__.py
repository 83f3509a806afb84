"""Other ways to turn trades into bytes and back, for the stage `codec`."""
