/**
 * Payloads of wire 2 as values: header, block of trades, events.
 *
 * A function here takes the bytes between a frame's length and its CRC and gives a plain object, or
 * throws WireError. Whatever may have 64 bits is a BigInt, since a double loses digits from 2^53
 * on: trade ids, times, prices, quantities, sequence numbers. Bytes after the last field known are
 * left alone: a newer service may say more.
 */

import { Fields, WireError } from "./bytes.mjs";

export const HEADER = 0x02;

export const MAX_SEQ = 2n ** 63n - 1n;

const MAX_INSTRUMENTS = 127;
const MAX_TRADES = 1024;
const WHOLE_FEED = 255;

const ESCAPE = 0x7f;
const BUYER_IS_MAKER = 0x80;
const BACK_FILLED = 1;
const SNAPSHOT = 2;

// Codes that a newer service may add to are read as OTHER.
const codes = (...names) => (code) => names[code] ?? "OTHER";
const tradeKind = codes("MARKET", "RPI", "INSURANCE_FUND", "ADL", "AGGREGATE");
const statusState = codes("CONNECTING", "LIVE", "STALE", "DOWN", "HALTED");
const gapState = codes("OPEN", "BACK_FILLED", "UNRECOVERABLE", "NO_TRADE");
const lossReason = codes(
  "SLOW",
  "EVICTED",
  "OTHER_EPOCH",
  "QUEUE_FULL",
  "DISCONNECTED",
  "UNANNOUNCED",
);
const endReason = codes("SHUTDOWN", "SLOW", "AUTH", "FULL", "FEED_FAILED", "BAD_REQUEST");

/** `retryMs` of an END after which there is nothing to come back for. */
const NEVER = 4294967295;

function within(value, least, most, field) {
  if (value < least || value > most) {
    throw new WireError(`${field} ${value} is not from ${least} to ${most}`);
  }
  return value;
}

const seqOf = (fields, field) => within(fields.u64(field), 1n, MAX_SEQ, field);

/**
 * `{type: "header", epochNs, nextSeq, venue, instruments}`. An instrument is
 * `{symbol, priceExponent, quantityExponent, timeExponent, reference}`; its place is its index.
 */
export function decodeHeader(body) {
  const fields = new Fields(body);
  fields.u8("version");
  fields.u8("reserved");
  const epochNs = fields.u64("epoch_ns");
  const nextSeq = seqOf(fields, "next_seq");
  const venue = nameOf(fields, 32, "venue");
  const count = within(fields.u8("n"), 1, MAX_INSTRUMENTS, "number of instruments");
  const instruments = Array.from({ length: count }, () => entryOf(fields));
  if (new Set(instruments.map(({ symbol }) => symbol)).size < count) {
    throw new WireError("a symbol stands twice in the header");
  }
  return { type: "header", epochNs, nextSeq, venue, instruments };
}

function entryOf(header) {
  const fields = new Fields(header.bytes(header.u8("entry_bytes"), "entry"));
  return {
    symbol: nameOf(fields, 64, "symbol"),
    priceExponent: within(fields.i8("price_exponent"), -18, 8, "price_exponent"),
    quantityExponent: within(fields.i8("quantity_exponent"), -18, 8, "quantity_exponent"),
    timeExponent: within(fields.i8("time_exponent"), -9, 0, "time_exponent"),
    reference: {
      price: fields.i64("price"),
      quantity: fields.u64("quantity"),
      tradeId: fields.u64("trade_id"),
      time: fields.u64("time"),
    },
  };
}

/** A text without blanks and control characters, so that it may be printed and split at blanks. */
function nameOf(fields, maxBytes, field) {
  const name = fields.text(field);
  within(Buffer.byteLength(name), 1, maxBytes, `bytes of ${field}`);
  if (/[\u0000-\u0020\u007f-\u00a0]/.test(name)) {
    throw new WireError(`${field} ${JSON.stringify(name)} has a blank or a control character`);
  }
  return name;
}

/**
 * `{type: "trades", backFilled, snapshot, firstSeq, receivedNs, heldNs, trades}`, in order. A trade
 * is `{seq, instrument, kind, buyerIsMaker, tradeId, time, price, quantity}`, its last three in the
 * units of its instrument; `seq` is null in a snapshot, whose trades take no numbers.
 */
export function decodeBlock(body, header) {
  const fields = new Fields(body);
  fields.u8("kind");
  const flags = fields.u8("flags");
  const ordinary = fields.u8("ordinary");
  const count = within(fields.u16("count"), 1, MAX_TRADES, "number of trades");
  const block = {
    type: "trades",
    backFilled: (flags & BACK_FILLED) !== 0,
    snapshot: (flags & SNAPSHOT) !== 0,
    firstSeq: seqOf(fields, "first_seq"),
    receivedNs: fields.u64("received_ns"),
    heldNs: fields.varint("held_ns"),
  };
  if (!block.snapshot) {
    within(block.firstSeq + BigInt(count - 1), 1n, MAX_SEQ, "last number of the block");
  }
  return { ...block, trades: tradesOf(fields, block, count, ordinary, header.instruments) };
}

function tradesOf(fields, block, count, ordinary, instruments) {
  const previous = instruments.map(({ reference }) => reference);
  return Array.from({ length: count }, (_, place) => {
    const trade = tradeOf(fields, ordinary, instruments, previous);
    return { seq: block.snapshot ? null : block.firstSeq + BigInt(place), ...trade };
  });
}

/** Each value is told as its difference to the previous trade of the same instrument. */
function tradeOf(fields, ordinary, instruments, previous) {
  const head = fields.u8("head");
  const escaped = (head & ESCAPE) === ESCAPE;
  const kind = tradeKind(escaped ? fields.u8("trade kind") : ordinary);
  const index = indexOf(escaped ? fields.u8("index") : head & ESCAPE, instruments);
  const before = previous[index];
  const trade = {
    instrument: instruments[index],
    kind,
    buyerIsMaker: (head & BUYER_IS_MAKER) !== 0,
    tradeId: BigInt.asUintN(64, before.tradeId + 1n + fields.zigzag("id")),
    time: BigInt.asUintN(64, before.time + fields.zigzag("time")),
    price: BigInt.asIntN(64, before.price + fields.zigzag("price")),
    quantity: fields.varint("quantity"),
  };
  previous[index] = trade;
  return trade;
}

function indexOf(index, instruments) {
  if (index >= instruments.length) {
    throw new WireError(`index ${index} is not in the header of ${instruments.length} instruments`);
  }
  return index;
}

function rangeOf(first, last, field) {
  if (first > last) throw new WireError(`${field}: first ${first} is after last ${last}`);
}

/** `instrument` is null where the whole feed is meant. */
function decodeStatus(fields, { instruments }) {
  const seq = seqOf(fields, "seq");
  const index = fields.u8("index");
  const instrument = index === WHOLE_FEED ? null : instruments[indexOf(index, instruments)];
  const state = statusState(fields.u8("state"));
  const sinceNs = fields.u64("since_ns");
  return { type: "status", seq, instrument, state, sinceNs, why: fields.text("why") };
}

function decodeGap(fields, { instruments }) {
  const seq = seqOf(fields, "seq");
  const instrument = instruments[indexOf(fields.u8("index"), instruments)];
  const state = gapState(fields.u8("state"));
  const firstId = fields.u64("first_id");
  const lastId = fields.u64("last_id");
  rangeOf(firstId, lastId, "GAP");
  return { type: "gap", seq, instrument, state, firstId, lastId, why: fields.text("why") };
}

function decodeLoss(fields) {
  const firstSeq = seqOf(fields, "first_seq");
  const lastSeq = seqOf(fields, "last_seq");
  rangeOf(firstSeq, lastSeq, "LOSS");
  return { type: "loss", firstSeq, lastSeq, reason: lossReason(fields.u8("reason")) };
}

function decodeHeartbeat(fields) {
  const nextSeq = seqOf(fields, "next_seq");
  return { type: "heartbeat", nextSeq, timeNs: fields.u64("time_ns") };
}

/** `retryMs` is null where the service says not to come back. */
function decodeEnd(fields) {
  const lastSeq = within(fields.u64("last_seq"), 0n, MAX_SEQ, "last_seq");
  const reason = endReason(fields.u8("reason"));
  const retryMs = fields.u32("retry_ms");
  const why = fields.text("why");
  return { type: "end", lastSeq, reason, retryMs: retryMs === NEVER ? null : retryMs, why };
}

const EVENTS = new Map([
  [0x20, decodeStatus],
  [0x21, decodeGap],
  [0x22, decodeLoss],
  [0x23, decodeHeartbeat],
  [0x24, decodeEnd],
]);

/** Any payload after the first header; `{type: "unknown", kind}` for one from a newer service. */
export function decodeMessage(body, header) {
  const kind = body[0];
  if (kind === HEADER) return decodeHeader(body);
  if (kind === 0x10) return decodeBlock(body, header);
  const decode = EVENTS.get(kind);
  if (decode === undefined) return { type: "unknown", kind };
  const fields = new Fields(body);
  fields.u8("kind");
  return decode(fields, header);
}

/**
 * `value * 10^exponent` as decimal text, every digit of it: `decimal(8309170n, -2)` is "83091.70".
 */
export function decimal(value, exponent) {
  if (exponent >= 0) return (value * 10n ** BigInt(exponent)).toString();
  const sign = value < 0n ? "-" : "";
  const digits = (value < 0n ? -value : value).toString().padStart(1 - exponent, "0");
  return `${sign}${digits.slice(0, exponent)}.${digits.slice(exponent)}`;
}
