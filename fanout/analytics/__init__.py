"""From a stream of records to features: exact where the records are, and None where they are not.

    from fanout.analytics import FeatureSettings, rows_in

    for row in rows_in(client, FeatureSettings()):
        print(row.symbol, row.values)

These are consumers of a stream, live or from a journal. They have no clock and no sockets.
"""

from fanout.analytics.features import Features
from fanout.analytics.settings import FeatureSettings
from fanout.analytics.stoikov import MicropriceFit
from fanout.analytics.stoikov_fit import MicropriceEstimator
from fanout.analytics.stream import StreamFeatures, rows_in

__all__ = [
    "FeatureSettings",
    "Features",
    "MicropriceEstimator",
    "MicropriceFit",
    "StreamFeatures",
    "rows_in",
]
