/**
 * Payloads of wire 2 as values: header, instruments, events. Blocks are in blocks.mjs.
 *
 * A function here takes the bytes between a frame's length and its CRC and gives a plain object, or
 * throws WireError. Whatever may have 64 bits is a BigInt, since a double loses digits from 2^53
 * on: trade ids, times, prices, quantities, sequence numbers. Bytes after the last field known are
 * left alone: a newer service may say more.
 */

import { BLOCKS, SNAPSHOT, decodeBlock, indexOf } from "./blocks.mjs";
import { Fields, MAX_SEQ, WireError, codes, seqOf, within } from "./bytes.mjs";

export const HEADER = 0x02;

export const INSTRUMENTS = 0x25;

const MAX_INSTRUMENTS = 1024;
const WHOLE_FEED = 65_535;

const ALL_DATA = 0x1f;
const FEATURES = 0x10;
const MAX_COLUMNS = 256;

const instrumentType = codes(
  "SPOT",
  "LINEAR_PERPETUAL",
  "INVERSE_PERPETUAL",
  "FUTURE",
  "OPTION",
  "INVERSE_FUTURE",
);
const statusState = codes("CONNECTING", "LIVE", "STALE", "DOWN", "HALTED");
const gapState = codes("OPEN", "BACK_FILLED", "UNRECOVERABLE", "NO_TRADE");
const lossReason = codes(
  "SLOW",
  "EVICTED",
  "OTHER_EPOCH",
  "QUEUE_FULL",
  "DISCONNECTED",
  "UNANNOUNCED",
  "DAMAGED",
);
const endReason = codes(
  "SHUTDOWN",
  "SLOW",
  "AUTH",
  "FULL",
  "FEED_FAILED",
  "BAD_REQUEST",
  "EPOCH_OVER",
);

/** `retryMs` of an END after which there is nothing to come back for. */
const NEVER = 4294967295;

/**
 * `{header, count}`: `{type: "header", epochNs, nextSeq, venue, channel, data, channels, instruments}`
 * still without instruments, and how many of them follow. A header of a channel of rows of features
 * has `columns` as well: their names.
 */
export function decodeHeader(body) {
  const fields = new Fields(body);
  fields.u8("version");
  fields.u8("reserved");
  const epochNs = fields.u64("epoch_ns");
  const nextSeq = seqOf(fields, "next_seq");
  const venue = nameOf(fields, 32, "venue");
  const channel = channelOf(fields);
  const data = fields.u8("data") & ALL_DATA;
  const count = within(fields.u16("count"), 0, MAX_INSTRUMENTS, "number of instruments");
  const channels = Array.from({ length: fields.u8("m") }, () => channelOf(fields));
  if (new Set([channel, ...channels]).size <= channels.length) {
    throw new WireError("a channel stands twice in the header");
  }
  const session = { epochNs, nextSeq, venue, channel, data, channels };
  if ((data & FEATURES) !== 0) session.columns = columnsOf(fields);
  return { count, header: { type: "header", ...session, instruments: [] } };
}

/**
 * A header with a run of instruments: changed, or added at the end. `{first, count, header}`. An
 * instrument is `{symbol, priceExponent, quantityExponent, timeExponent, reference, ...}`; its place
 * is its index.
 */
export function decodeInstruments(body, header) {
  const fields = new Fields(body);
  fields.u8("kind");
  fields.u8("reserved");
  const first = fields.u16("first");
  const count = within(fields.u16("n"), 1, MAX_INSTRUMENTS, "number of instruments");
  within(first + count, 1, MAX_INSTRUMENTS, "instruments in all");
  const known = header.instruments;
  if (first > known.length) throw new WireError(`instruments from ${first} on leave an index out`);
  const run = Array.from({ length: count }, () => entryOf(fields));
  const instruments = [...known.slice(0, first), ...run, ...known.slice(first + count)];
  requireSameSymbols(known, instruments);
  if (new Set(instruments.map(({ symbol }) => symbol)).size < instruments.length) {
    throw new WireError("a symbol stands twice in the header");
  }
  return { first, count, header: { ...header, instruments } };
}

/** An index keeps its symbol for a whole epoch. */
export function requireSameSymbols(known, instruments) {
  const common = Math.min(known.length, instruments.length);
  for (let index = 0; index < common; index += 1) {
    if (known[index].symbol !== instruments[index].symbol) {
      throw new WireError(`index ${index} was ${known[index].symbol} and has another symbol`);
    }
  }
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
      updateId: fields.u64("update_id"),
    },
    tick: fields.u64("tick"),
    lot: fields.u64("lot"),
    base: assetOf(fields, "base"),
    quote: assetOf(fields, "quote"),
    type: instrumentType(fields.u8("type")),
    contractMantissa: fields.i64("contract_mantissa"),
    contractExponent: within(fields.i8("contract_exponent"), -18, 8, "contract_exponent"),
  };
}

function columnsOf(fields) {
  const count = within(fields.u16("k"), 1, MAX_COLUMNS, "number of columns");
  const columns = Array.from({ length: count }, () => fields.text("column"));
  const odd = columns.find((column) => !/^[a-z0-9_]{1,64}$/.test(column));
  if (odd !== undefined) throw new WireError(`${JSON.stringify(odd)} is no name of a column`);
  if (new Set(columns).size < count) throw new WireError("a column stands twice in the header");
  return columns;
}

/** The name of a channel: lower case letters, digits and `.` `_` `-`. */
function channelOf(fields) {
  const channel = fields.text("channel");
  if (!/^[a-z0-9][a-z0-9._-]{0,31}$/.test(channel)) {
    throw new WireError(`${JSON.stringify(channel)} is no name of a channel`);
  }
  return channel;
}

/** A name that may be empty. */
function assetOf(fields, field) {
  return namedOf(fields, 0, 32, field);
}

/** A text without blanks and control characters, so that it may be printed and split at blanks. */
function nameOf(fields, maxBytes, field) {
  return namedOf(fields, 1, maxBytes, field);
}

function namedOf(fields, leastBytes, maxBytes, field) {
  const name = fields.text(field);
  within(Buffer.byteLength(name), leastBytes, maxBytes, `bytes of ${field}`);
  if (/[\u0000-\u0020\u007f-\u00a0]/.test(name)) {
    throw new WireError(`${field} ${JSON.stringify(name)} has a blank or a control character`);
  }
  return name;
}

function rangeOf(first, last, field) {
  if (first > last) throw new WireError(`${field}: first ${first} is after last ${last}`);
}

/** `instrument` is null where the whole feed is meant. */
function decodeStatus(fields, { instruments }) {
  const seq = seqOf(fields, "seq");
  const index = fields.u16("index");
  const instrument = index === WHOLE_FEED ? null : instruments[indexOf(index, instruments)];
  const state = statusState(fields.u8("state"));
  const sinceNs = fields.u64("since_ns");
  return { type: "status", seq, instrument, state, sinceNs, why: fields.text("why") };
}

function decodeGap(fields, { instruments }) {
  const seq = seqOf(fields, "seq");
  const instrument = instruments[indexOf(fields.u16("index"), instruments)];
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

/**
 * A block or an event; from a newer service `{type: "unknown", kind}`, with `firstSeq` and `lastSeq`
 * if its kind is one of those that hold records.
 */
export function decodeMessage(body, header) {
  const kind = body[0];
  if (BLOCKS.has(kind)) return decodeBlock(body, header);
  if (kind >= 0x10 && kind < 0x20) return skippedRun(body);
  const decode = EVENTS.get(kind);
  if (decode === undefined) return { type: "unknown", kind };
  const fields = new Fields(body);
  fields.u8("kind");
  return decode(fields, header);
}

/** Frames of kind 0x10 to 0x1F begin alike: their numbers are known, whatever they hold. */
function skippedRun(body) {
  const fields = new Fields(body);
  const kind = fields.u8("kind");
  const flags = fields.u8("flags");
  fields.u8("ordinary");
  const count = within(fields.u16("count"), 1, 65_535, "number of records");
  const firstSeq = seqOf(fields, "first_seq");
  if ((flags & SNAPSHOT) !== 0) return { type: "unknown", kind };
  const lastSeq = within(firstSeq + BigInt(count - 1), 1n, MAX_SEQ, "last number");
  return { type: "unknown", kind, firstSeq, lastSeq };
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
