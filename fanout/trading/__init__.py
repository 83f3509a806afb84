"""A market maker on paper: orders, positions, a paper exchange, limits and strategies.

Everything here is a consumer of the stream, and a pure core: records and times come in, reports go
out. It opens nothing and reads no clock. No order leaves the machine; there is no code here that
could send one.

    records -> paper.PaperExchange -> reports.Fill -> position.Position
                     ^                                     |
                orders |                                   v
    strategies/ -> desk.Desk -> risk.Risk, kill.KillSwitch

Prices and quantities are integers at the exponents of the instrument, amounts of money integers at
the exponent of `money.Money`. Times are the records' `received_ns`, unix ns.
"""
