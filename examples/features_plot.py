"""Plots features of a journal, in cells as a notebook has them. Needs matplotlib ('fanout[plot]').

python examples/features_plot.py journal://journal/binance-usdm BTCUSDT features.png
"""

# %% One row for each 100 ms of the journal's own time.
import sys

import matplotlib.pyplot as plt
import numpy as np

from fanout.analytics import FeatureSettings
from fanout.analytics.columns import features_of

journal, symbol, picture = sys.argv[1:]
settings = FeatureSettings(order_flow_ms=(5_000,), trade_flow_ms=(5_000,), volatility_ms=(10_000,))
rows = features_of(journal, settings, symbols=[symbol], every_ns=100_000_000)
time_s = (rows["time_ns"] - rows["time_ns"][0]) / 1e9

# %% Where there is no value there is a gap in the line, and `absences` says why.
figure, (price, imbalance, flow, volatility) = plt.subplots(
    4, sharex=True, figsize=(11, 9), layout="constrained"
)
price.plot(time_s, rows["mid"], label="mid", color="black", linewidth=0.8)
price.plot(time_s, rows["wap_10bps"], label="WAP within 10 bps", linewidth=0.8)
price.plot(time_s, rows["vwap_1000ms"], ".", label="VWAP of trades, 1 s", markersize=1)
imbalance.plot(time_s, rows["liquidity_imbalance_10bps"], label="liquidity imbalance, 10 bps")
imbalance.plot(time_s, rows["trade_flow_imbalance_5000ms"], label="trade flow, 5 s", linewidth=0.8)
flow.plot(time_s, rows["order_flow_imbalance_5000ms"], label="order-flow imbalance, 5 s")
volatility.plot(time_s, 1e4 * rows["volatility_10000ms"], label="volatility of 10 s, bps per √s")

# %%
for axes in (price, imbalance, flow, volatility):
    axes.legend(loc="best", fontsize="small", ncols=3)
volatility.set_xlabel(f"seconds; {np.isnan(rows['mid']).mean():.1%} of the rows have no mid")
figure.suptitle(symbol)
figure.savefig(picture)
