"""The parts that Binance's dialects share: requests, messages, REST. This is no dialect itself."""
