"""Consumers of a stream: features, best prices and signals, live or from a journal.

    from fanout.analytics import FeatureSettings, OrderFlowThreshold, rows_in

    settings = FeatureSettings()
    model = OrderFlowThreshold(settings.columns, threshold=5.0)
    for row in rows_in(client, settings):
        print(row.symbol, row.values, model.signal(row))

Features are exact where the records are, and None where they are not. Nothing here has a clock or a
socket. These are the names that most programs need. Beside them there are

    columns         features of a whole journal as numpy arrays
    nbbos           `BestPricesOf`: best prices from the records of several streams
    assets          names of assets, such as `BTC-USDT:spot`
    stoikov_fit     `MicropriceEstimator`: fits Stoikov's microprice
    samples         features and the returns after them, and `linear.fit_linear` for these
    loading         models by the name of a module and a class
    signalled       rows of features with signals behind them, as the consumer writes them
"""

from fanout.analytics.best_prices import BestPrices
from fanout.analytics.column import Column
from fanout.analytics.errors import AnalyticsError
from fanout.analytics.features import Features
from fanout.analytics.linear import LinearFit
from fanout.analytics.nbbo import Nbbo
from fanout.analytics.settings import FeatureSettings
from fanout.analytics.signals import (
    Combination,
    LinearPredictor,
    OrderFlowThreshold,
    Signal,
    SignalModel,
    flat,
)
from fanout.analytics.sizing import PositionSize
from fanout.analytics.stoikov import MicropriceFit
from fanout.analytics.stoikov_fit import MicropriceEstimator
from fanout.analytics.stream import StreamFeatures, rows_in

__all__ = [
    "AnalyticsError",
    "BestPrices",
    "Column",
    "Combination",
    "FeatureSettings",
    "Features",
    "LinearFit",
    "LinearPredictor",
    "MicropriceEstimator",
    "MicropriceFit",
    "Nbbo",
    "OrderFlowThreshold",
    "PositionSize",
    "Signal",
    "SignalModel",
    "StreamFeatures",
    "flat",
    "rows_in",
]
