/**
 * Blocks of wire 2 as values: runs of trades, quotes, book updates and rows of features.
 *
 * A block is `{type, backFilled, snapshot, firstSeq, receivedNs, heldNs}` and its records, in order:
 * `trades`, `quotes`, `updates` or `rows`. A record has its `seq`, which is null in a snapshot, whose records
 * take no numbers, and its `instrument`, in whose units its numbers are.
 */

import { Fields, MAX_SEQ, WireError, codes, seqOf, within } from "./bytes.mjs";

const LOW_INDEX = 0x1f;
const MORE = 0x20;
const ESCAPE = 0x40;
const FLAGGED = 0x40;
const BUYER_IS_MAKER = 0x80;
const BACK_FILLED = 1;
export const SNAPSHOT = 2;
const WHOLE = 1;
const MORE_TO_COME = 2;
const TOP_ONLY = 4;

/** How many values the rows of a block may have together. */
const MAX_VALUES = 7168;

const absenceOf = codes(
  "PRESENT",
  "WARMING_UP",
  "NO_BOOK",
  "LOST",
  "NOT_LIVE",
  "ONE_SIDED",
  "CROSSED",
  "TOO_SHALLOW",
  "EMPTY",
  "NOT_FITTED",
);

const tradeKind = codes("MARKET", "RPI", "INSURANCE_FUND", "ADL", "AGGREGATE");

/** By the first byte: the block's type, the name and the limit of its records, and their reader. */
export const BLOCKS = new Map([
  [0x10, { type: "trades", items: "trades", most: 1024, recordOf: tradeOf }],
  [0x11, { type: "quotes", items: "quotes", most: 1024, recordOf: quoteOf }],
  [0x12, { type: "book", items: "updates", most: 512, recordOf: updateOf, entries: 2048 }],
  [0x13, { type: "orders", items: "updates", most: 512, recordOf: updateOf, entries: 1536 }],
  [0x14, { type: "features", items: "rows", most: 512, recordOf: rowOf }],
]);

/** The records of a block of any kind. */
export const recordsOf = ({ trades, quotes, updates, rows }) => trades ?? quotes ?? updates ?? rows;

/** The block in a body, by its first byte. Throws WireError. */
export function decodeBlock(body, header) {
  const fields = new Fields(body);
  const { type, items, most, recordOf, entries } = BLOCKS.get(fields.u8("kind"));
  const flags = fields.u8("flags");
  const ordinary = fields.u8("ordinary");
  const count = within(fields.u16("count"), 1, most, `number of ${items}`);
  const block = {
    type,
    backFilled: (flags & BACK_FILLED) !== 0,
    snapshot: (flags & SNAPSHOT) !== 0,
    firstSeq: seqOf(fields, "first_seq"),
    receivedNs: fields.u64("received_ns"),
    heldNs: fields.varint("held_ns"),
  };
  if (!block.snapshot) {
    within(block.firstSeq + BigInt(count - 1), 1n, MAX_SEQ, "last number of the block");
  }
  if (type === "features") checkValues(count, header.columns);
  // What the records share: the one before of each instrument, how many levels there may be, and
  // the columns of rows with the time of the row before.
  const { instruments, columns } = header;
  const shared = { columns, timeNs: block.receivedNs, left: entries };
  const run = { type, ordinary, instruments, previous: new Map(), ...shared };
  const records = Array.from({ length: count }, (_, place) => ({
    seq: block.snapshot ? null : block.firstSeq + BigInt(place),
    ...recordOf(fields, run),
  }));
  return { ...block, [items]: records };
}

/** `{seq, instrument, kind, buyerIsMaker, tradeId, time, price, quantity}`. */
function tradeOf(fields, run) {
  const head = fields.u8("head");
  const kind = tradeKind((head & ESCAPE) !== 0 ? fields.u8("trade kind") : run.ordinary);
  const instrument = instrumentOf(fields, head, run);
  const before = run.previous.get(instrument) ?? instrument.reference;
  const trade = {
    instrument,
    kind,
    buyerIsMaker: (head & BUYER_IS_MAKER) !== 0,
    tradeId: BigInt.asUintN(64, before.tradeId + 1n + fields.zigzag("id")),
    time: BigInt.asUintN(64, before.time + fields.zigzag("time")),
    price: BigInt.asIntN(64, before.price + fields.zigzag("price")),
    quantity: fields.varint("quantity"),
  };
  run.previous.set(instrument, trade);
  return trade;
}

/** `{seq, instrument, updateId, time, bidPrice, askPrice, bidQuantity, askQuantity}`. */
function quoteOf(fields, run) {
  const instrument = instrumentOf(fields, fields.u8("head"), run);
  const { reference } = instrument;
  const before = run.previous.get(instrument) ?? { ...reference, bidPrice: reference.price };
  const { updateId, time } = momentOf(fields, before);
  const bidPrice = BigInt.asIntN(64, before.bidPrice + fields.zigzag("bid"));
  const askPrice = BigInt.asIntN(64, bidPrice + fields.zigzag("ask"));
  const bidQuantity = fields.varint("bid_quantity");
  const askQuantity = fields.varint("ask_quantity");
  const quote = { instrument, updateId, time, bidPrice, askPrice, bidQuantity, askQuantity };
  run.previous.set(instrument, quote);
  return quote;
}

/**
 * `{seq, instrument, whole, more, topOnly, updateId, time, bids, asks}`. A side is a list of
 * `[price, quantity]` from the best outwards; in a block of type "orders", of
 * `[orderId, price, quantity]`.
 */
function updateOf(fields, run) {
  const head = fields.u8("head");
  const flags = (head & FLAGGED) !== 0 ? fields.u8("flags of the update") : 0;
  const instrument = instrumentOf(fields, head, run);
  const { updateId, time } = momentOf(fields, run.previous.get(instrument) ?? instrument.reference);
  run.previous.set(instrument, { updateId, time });
  const bidCount = countOf(fields, run, "bids");
  const askCount = countOf(fields, run, "asks");
  const start = instrument.reference.price;
  const [whole, more, topOnly] = [WHOLE, MORE_TO_COME, TOP_ONLY].map((bit) => (flags & bit) !== 0);
  const sideOf = run.type === "orders" ? ordersOf : levelsOf;
  const bids = sideOf(fields, bidCount, start, -1n);
  const asks = sideOf(fields, askCount, start, 1n);
  return { instrument, whole, more, topOnly, updateId, time, bids, asks };
}

/** The number of levels of a side. All updates of a block share one limit. */
function countOf(fields, run, field) {
  const count = within(fields.varint(field), 0n, BigInt(run.left), `number of ${field}`);
  run.left -= Number(count);
  return Number(count);
}

/** Bids fall, which is a `direction` of -1; asks rise. */
function levelsOf(fields, count, start, direction) {
  let price = start;
  return Array.from({ length: count }, (_, place) => {
    const before = price;
    price = BigInt.asIntN(64, price + fields.zigzag("price"));
    if (place > 0 && (price - before) * direction <= 0n) {
      throw new WireError(`price ${price} does not stand outwards of ${before}`);
    }
    return [price, fields.varint("quantity")];
  });
}

function ordersOf(fields, count, start) {
  let [orderId, price] = [0n, start];
  return Array.from({ length: count }, () => {
    orderId = BigInt.asUintN(64, orderId + fields.zigzag("order"));
    price = BigInt.asIntN(64, price + fields.zigzag("price"));
    return [orderId, price, fields.varint("quantity")];
  });
}

function checkValues(count, columns) {
  if (columns === undefined) throw new WireError("rows in a channel without columns");
  within(count * columns.length, 1, MAX_VALUES, "number of values");
}

/**
 * `{seq, instrument, timeNs, values, absences}`. For each column of the header a value and null, or
 * null and the reason why there is none.
 */
function rowOf(fields, run) {
  const instrument = instrumentOf(fields, fields.u8("head"), run);
  run.timeNs = BigInt.asUintN(64, run.timeNs + fields.zigzag("time_ns"));
  const bitmap = fields.bytes(Math.ceil(run.columns.length / 8), "bitmap");
  const pairs = run.columns.map((column, place) => {
    const isThere = (bitmap[place >> 3] >> (place & 7)) & 1;
    return isThere ? [fields.f64(column), null] : [null, reasonOf(fields, column)];
  });
  const values = pairs.map(([value]) => value);
  const absences = pairs.map(([, absence]) => absence);
  return { instrument, timeNs: run.timeNs, values, absences };
}

function reasonOf(fields, column) {
  return absenceOf(within(fields.u8(column), 1, 255, `absence of ${column}`));
}

/** The venue's number of the book's state, and its time. */
function momentOf(fields, before) {
  const updateId = BigInt.asUintN(64, before.updateId + fields.zigzag("update"));
  const time = BigInt.asUintN(64, before.time + fields.zigzag("time"));
  return { updateId, time };
}

/** The instrument of an item, whose index begins in the item's head. */
function instrumentOf(fields, head, { instruments }) {
  const high = (head & MORE) !== 0 ? fields.varint("index") : 0n;
  if ((head & MORE) !== 0 && high === 0n) throw new WireError("index longer than it needs to be");
  return instruments[indexOf(Number(high) * 32 + (head & LOW_INDEX), instruments)];
}

export function indexOf(index, instruments) {
  if (index >= instruments.length) {
    throw new WireError(`index ${index} is not in the header of ${instruments.length} instruments`);
  }
  return index;
}
