"""Encode a session header and three trades in the binary format, and decode them again.
Run it as `python examples/binary_format.py`."""

import fanout.protocol as wire

RECEIVED_NS = 1_723_161_255_163_182_267
BTC = wire.Instrument(index=0, symbol="BTCUSDT", price_exponent=-2, quantity_exponent=-3)


def trade(seq: int, trade_id: int, ms: int, price: str, quantity: str) -> wire.Trade:
    ticks = wire.from_text(price, BTC.price_exponent)  # the exact number, or an error
    steps = wire.from_text(quantity, BTC.quantity_exponent)
    return wire.Trade(BTC, trade_id, ms, ticks, steps, True, seq=seq, received_ns=RECEIVED_NS)


trades = [
    trade(1, 5266583935, 1723161256322, "61800.30", "0.006"),
    trade(2, 5266583936, 1723161256344, "61800.30", "0.199"),
    trade(3, 5266583937, 1723161256431, "61800.20", "0.045"),
]
# The first deltas of every block start from these values. Recent values make blocks small.
recent = wire.Reference(price=6_180_110, quantity=81, trade_id=5266583930, time=1723161255900)
header = wire.Header(
    epoch_ns=RECEIVED_NS, next_seq=1, venue="demo", instruments=(BTC,), references=(recent,)
)
block = wire.Block(first_seq=1, trades=trades, received_ns=RECEIVED_NS)

header_frames = wire.opening(header)
block_payload = wire.encode_block(block, header)
print(f"header, {len(header_frames)} bytes: {header_frames.hex()}")
print(f"block, {len(block_payload)} bytes: {block_payload.hex()}")
print(f"{len(wire.frame(block_payload)) / len(trades):.1f} bytes a trade, all included")

known = wire.decode_opening(header_frames)  # with the header, any one block decodes alone
decoded = wire.decode_block(block_payload, known)
print(f"equal: {known == header and decoded == block}")
for each in decoded.trades:
    print(each.seq, each.symbol, each.trade_id, each.price_text, each.quantity_text)
