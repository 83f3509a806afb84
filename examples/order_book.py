"""Follow the order book of a symbol, and print its best prices whenever they change. The service
needs `--data book`. Run it as `python examples/order_book.py tcp://127.0.0.1:9000 [SYMBOL]`."""

import sys

from fanout.clients.books import Book, Books
from fanout.clients.tcp import AddressError, TcpClient, UnknownSymbolError


def line(book: Book) -> str:
    of, sides = book.instrument, []
    if of is None or not book.is_known:
        return f"{book.symbol} is unknown"  # until a whole book has come
    for level in (book.best_bid, book.best_ask):
        if level is None:
            sides.append("nothing")
        else:
            sides.append(f"{of.quantity_text(level.quantity)} @ {of.price_text(level.price)}")
    imbalance = book.prices.imbalance(10) or 0.0  # of the first ten levels
    return f"{book.symbol} bid {sides[0]}, ask {sides[1]}, imbalance {imbalance:+.2f}"


def main(url: str = "tcp://127.0.0.1:9000", symbol: str = "BTCUSDT") -> None:
    printed = ""
    with TcpClient(url, symbols=[symbol]) as client:
        books = Books(client)
        for _ in books:
            if (now := line(books[symbol])) != printed:
                print(now)
                printed = now


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        pass
    except (AddressError, UnknownSymbolError) as error:
        sys.exit(str(error))
