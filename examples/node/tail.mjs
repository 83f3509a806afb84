/**
 * Print what a fanout service sends as JSON lines: node tail.mjs HOST:PORT [options]
 * or what is in a segment of a journal: node tail.mjs FILE.fj [options]
 *
 *   --start live | oldest | EPOCH_NS:SEQ | time:NS    where to begin (live)
 *   --limit N                                         leave after N trades
 *   --token TOKEN                                     what the service knows its readers by
 *
 * A connection that breaks is taken up again at the number that was due. Numbers that may have 64
 * bits are printed as strings of digits, since a JSON number is a double to many who read it. A line
 * of type "loss" or "hole" says which sequence numbers this reader never gets.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

import { recordsOf } from "./blocks.mjs";
import { Disconnected, Session, connect, decimal } from "./fanout.mjs";
import { readSegment } from "./segment.mjs";

const RETRY_MS = 1_000;

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    start: { type: "string", default: "live" },
    limit: { type: "string", default: "Infinity" },
    token: { type: "string" },
  },
});

function startOf(text) {
  const [, epochNs, seq] = /^(\d+):(\d+)$/.exec(text) ?? [];
  if (seq !== undefined) return { epochNs: BigInt(epochNs), seq: BigInt(seq) };
  const [, timeNs] = /^time:(\d+)$/.exec(text) ?? [];
  if (timeNs !== undefined) return { timeNs: BigInt(timeNs) };
  if (text !== "live" && text !== "oldest") throw new Error(`${text} is no place to begin`);
  return text;
}

/** The trade in units that people use: decimal strings, and seconds since 1970 with all digits. */
function tradeRow({ instrument, buyerIsMaker, ...trade }, { backFilled, snapshot, receivedNs }) {
  return {
    type: "trade",
    seq: trade.seq,
    symbol: instrument.symbol,
    trade_id: trade.tradeId,
    time_s: decimal(trade.time, instrument.timeExponent),
    price: decimal(trade.price, instrument.priceExponent),
    quantity: decimal(trade.quantity, instrument.quantityExponent),
    side: buyerIsMaker ? "sell" : "buy",
    kind: trade.kind,
    back_filled: backFilled,
    snapshot,
    received_ns: receivedNs,
  };
}

function eventRow({ instrument, ...event }) {
  return instrument === undefined ? event : { ...event, symbol: instrument?.symbol ?? null };
}

/** A side of a book as pairs of decimal strings, from the best outwards; by order, ids first. */
function sideRows(side, { priceExponent, quantityExponent }) {
  return side.map((entry) => [
    ...entry.slice(0, -2),
    decimal(entry.at(-2), priceExponent),
    decimal(entry.at(-1), quantityExponent),
  ]);
}

function quoteRow(quote, { snapshot, receivedNs }) {
  const { instrument } = quote;
  const [bid] = sideRows([[quote.bidPrice, quote.bidQuantity]], instrument);
  const [ask] = sideRows([[quote.askPrice, quote.askQuantity]], instrument);
  return { ...headOf("quote", quote), bid, ask, snapshot, received_ns: receivedNs };
}

function updateRow(update, { type, snapshot, receivedNs }) {
  const { instrument, whole, more, topOnly } = update;
  const bids = sideRows(update.bids, instrument);
  const asks = sideRows(update.asks, instrument);
  const flags = { whole, more, top_only: topOnly, snapshot };
  return { ...headOf(type, update), bids, asks, ...flags, received_ns: receivedNs };
}

function headOf(type, { seq, instrument, updateId, time }) {
  const time_s = decimal(time, instrument.timeExponent);
  return { type, seq, symbol: instrument.symbol, update_id: updateId, time_s };
}

/** A row of features: `values` has null where there is none, and `absences` says why. */
function featureRow({ instrument, seq, timeNs, values, absences }, { snapshot, receivedNs }) {
  const named = (list) => columns.map((column, place) => [column, list[place]]);
  const reasons = named(absences).filter(([, reason]) => reason !== null);
  const told = { values: Object.fromEntries(named(values)), absences: Object.fromEntries(reasons) };
  const head = { type: "row", seq, symbol: instrument.symbol, time_ns: timeNs };
  return { ...head, ...told, snapshot, received_ns: receivedNs };
}

/** The names of the columns of rows of features, from the newest header. */
let columns = [];

const ROWS = { features: featureRow, trades: tradeRow, quotes: quoteRow, book: updateRow, orders: updateRow };

function rowsOf(event) {
  if (event.type === "header") columns = event.columns ?? [];
  const rowOf = ROWS[event.type];
  if (rowOf === undefined) return [eventRow(event)];
  return recordsOf(event).map((record) => rowOf(record, event));
}

function print(row) {
  const exact = (_, value) => (typeof value === "bigint" ? value.toString() : value);
  process.stdout.write(`${JSON.stringify(row, exact)}\n`);
}

/** Events over as many connections as it takes; ends where the service says not to come back. */
async function* follow(host, port, request) {
  let { start } = request;
  for (;;) {
    const session = new Session(start);
    let retryMs = RETRY_MS;
    try {
      for await (const event of connect(host, port, session, { ...request, start })) {
        yield event;
        if (event.type === "end") ({ retryMs } = event);
      }
    } catch (error) {
      // Others come again, however often it tries: a broken wire, a request that cannot be.
      if (!(error instanceof Disconnected) && error.syscall === undefined) throw error;
      console.error(`tail: ${error.message}`);
    }
    if (retryMs === null) return;
    start = session.resume;
    await sleep(retryMs);
  }
}

/** `HOST:PORT`, or `[ADDRESS]:PORT` for an IPv6 address, which has colons of its own. */
function addressOf(text) {
  const [, host, port] = /^\[?([^\]]+)\]?:(\d+)$/.exec(text) ?? [];
  if (port === undefined) throw new Error(`${text} is not HOST:PORT`);
  return [host, Number(port)];
}

function eventsOf(source) {
  if (source.endsWith(".fj")) return readSegment(source);
  const [host, port] = addressOf(source);
  return follow(host, port, { start: startOf(options.start), token: options.token });
}

async function main() {
  let left = Number(options.limit);
  for await (const event of eventsOf(positionals[0] ?? "127.0.0.1:9000")) {
    for (const row of rowsOf(event)) {
      print(row);
      if (row.type === "trade" && !row.snapshot) left -= 1;
      if (left <= 0) return; // which closes the connection
    }
  }
}

process.stdout.on("error", () => process.exit(0)); // `| head` has seen enough

main().catch((error) => {
  console.error(`tail: ${error.message}`);
  process.exitCode = 1;
});
