"""Consumers of a stream: features, best prices and signals, live or from a journal.

    from fanout.analytics import FeatureSettings, OrderFlowThreshold, rows_in

    settings = FeatureSettings()
    model = OrderFlowThreshold(settings.columns, threshold=5.0)
    for row in rows_in(client, settings):
        print(row.symbol, row.values, model.signal(row))

Features are exact where the records are, and None where they are not. Nothing here has a clock or a
socket. These are the names that most programs need. Beside them there are

    columns             features of a whole journal as numpy arrays
    nbbo.nbbos          `BestPricesOf`: best prices from the records of several streams
    nbbo.assets         names of assets, such as `BTC-USDT:spot`
    fits.stoikov_fit    `MicropriceEstimator`: fits Stoikov's microprice
    fits.samples        features and the returns after them, and `fits.linear.fit_linear` for these
    signals.loading     models by the name of a module and a class
    signals.signalled   rows of features with signals behind them, as the consumer writes them
"""

from fanout.analytics.errors import AnalyticsError
from fanout.analytics.features.column import Column
from fanout.analytics.features.features import Features
from fanout.analytics.features.settings import FeatureSettings
from fanout.analytics.features.stoikov import MicropriceFit
from fanout.analytics.features.stream import StreamFeatures, rows_in
from fanout.analytics.fits.linear import LinearFit
from fanout.analytics.fits.stoikov_fit import MicropriceEstimator
from fanout.analytics.nbbo.best_prices import BestPrices
from fanout.analytics.nbbo.nbbo import Nbbo
from fanout.analytics.signals.models import (
    Combination,
    LinearPredictor,
    OrderFlowThreshold,
    Signal,
    SignalModel,
    flat,
)
from fanout.analytics.signals.sizing import PositionSize

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
