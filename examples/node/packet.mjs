/**
 * Packets of a multicast group: 48 bytes, and then whole frames.
 *
 * `decodePacket` looks at one datagram, without the instruments, which it does not need: it checks
 * what section 12 of WIRE.md says, the numbers and CRCs of all frames among it. `listingOf` is the
 * checksum that a packet has of the instruments under which its blocks can be decoded.
 */

import { SNAPSHOT as SNAPSHOT_BLOCK } from "./blocks.mjs";
import { Fields, MAX_SEQ, WireError, checkedBody, crc32, seqOf, within } from "./bytes.mjs";
import { HEADER, INSTRUMENTS } from "./payloads.mjs";

export const PACKET_HEADER_BYTES = 48;

const MAX_PACKET_BYTES = 65_507;
const CRC_AT = 44;
const LENGTH_BYTES = 4;
const FLAGS = ["heartbeat", "end", "snapshot", "last"];
const STATUS = 0x20;
const GAP = 0x21;
const LOSS = 0x22;
const HEARTBEAT = 0x23;
const END = 0x24;

/**
 * `{flags, channel, line, listing, epochNs, nextSeq, stopSeq, sentNs, number, frames}`: `flags` are
 * names, `stopSeq` is the number that is due behind the packet, and a frame has its length. Throws
 * WireError for a packet that is to be skipped.
 */
export function decodePacket(bytes) {
  const fields = new Fields(bytes);
  const magic = fields.bytes(4, "magic");
  if (!Buffer.from("fanP").equals(magic)) throw new WireError("the datagram is no packet");
  const version = fields.u8("version");
  if (version !== 2) throw new WireError(`packet of version ${version}`);
  const bits = fields.u8("flags");
  const flags = FLAGS.filter((_, bit) => (bits >> bit) & 1);
  const channel = fields.u16("channel");
  const line = within(fields.u8("line"), 0, 1, "line");
  fields.u8("reserved");
  const count = within(fields.u16("count"), 1, 65_535, "number of frames");
  const packet = {
    flags,
    channel,
    line,
    listing: fields.u32("listing"),
    epochNs: fields.u64("epoch_ns"),
    nextSeq: seqOf(fields, "next_seq"),
    sentNs: fields.u64("sent_ns"),
    number: fields.u32("number"),
  };
  if (fields.u32("crc") !== crc32(bytes.subarray(0, CRC_AT))) {
    throw new WireError("the CRC of a packet's first bytes does not match");
  }
  within(bytes.length, PACKET_HEADER_BYTES, MAX_PACKET_BYTES, "bytes of a packet");
  const frames = framesOf(bytes.subarray(PACKET_HEADER_BYTES), count);
  return { ...packet, frames, stopSeq: stopOf(frames, packet) };
}

function framesOf(bytes, count) {
  const fields = new Fields(bytes);
  const frames = [];
  let at = 0;
  for (let place = 0; place < count; place += 1) {
    const length = within(fields.u32("length"), 1, 65_536, "bytes of a frame");
    fields.bytes(length, "frame");
    frames.push(bytes.subarray(at, at + LENGTH_BYTES + length));
    at += LENGTH_BYTES + length;
  }
  if (at !== bytes.length) throw new WireError("bytes behind the last frame of a packet");
  return frames;
}

/** The number that is due behind frames, each of which has to take the one that is due before it. */
function stopOf(frames, { flags, nextSeq }) {
  const isSnapshot = flags.includes("snapshot");
  const bodies = frames.map((frame) => checkedBody(frame.subarray(LENGTH_BYTES)));
  const listings = bodies.filter((body) => body[0] === INSTRUMENTS).length;
  if (!isSnapshot && listings > 0 && listings < bodies.length) {
    throw new WireError("instruments and other frames in one packet");
  }
  let due = nextSeq;
  for (const body of bodies) {
    const kind = body[0];
    const [first, stop] = numbersOf(body, due);
    if (isSnapshot && (stop !== first || kind === HEARTBEAT || kind === END)) {
      throw new WireError(`kind ${kind} in a snapshot`);
    }
    if (isSnapshot) continue;
    if (kind === HEADER) throw new WireError("a header outside a snapshot");
    if (kind === END && !flags.includes("end")) throw new WireError("END in a packet without its flag");
    if (first !== due) throw new WireError(`number ${first} where ${due} is due`);
    due = stop;
  }
  return due;
}

/** The number that a frame stands at, and the one that is due behind it. */
function numbersOf(body, due) {
  const fields = new Fields(body);
  const kind = fields.u8("kind");
  if (kind >= 0x10 && kind < 0x20) {
    const isSnapshot = (fields.u8("flags") & SNAPSHOT_BLOCK) !== 0;
    fields.u8("ordinary");
    const count = within(fields.u16("count"), 1, 65_535, "number of records");
    const first = seqOf(fields, "first_seq");
    if (isSnapshot) return [due, due];
    return [first, 1n + within(first + BigInt(count - 1), 1n, MAX_SEQ, "last number")];
  }
  if (kind === HEADER) {
    fields.bytes(9, "epoch_ns");
    const next = seqOf(fields, "next_seq");
    return [next, next];
  }
  if (kind === LOSS) {
    const first = seqOf(fields, "first_seq");
    return [first, 1n + within(seqOf(fields, "last_seq"), first, MAX_SEQ, "last_seq")];
  }
  if (kind === STATUS || kind === GAP) {
    const seq = seqOf(fields, "seq");
    return [seq, seq + 1n];
  }
  if (kind === HEARTBEAT) {
    const next = seqOf(fields, "next_seq");
    return [next, next];
  }
  if (kind === END) {
    const next = 1n + within(fields.u64("last_seq"), 0n, MAX_SEQ - 1n, "last_seq");
    return [next, next];
  }
  return [due, due];
}

/** The checksum of a header's instruments. */
export function listingOf({ instruments }) {
  const sums = instruments.map((instrument, index) => crc32(countedOf(instrument, index)));
  return sums.reduce((total, each) => (total + each) >>> 0, 0);
}

/** An instrument's index, and the bytes of its entry from `symbol` to `lot`. */
function countedOf(instrument, index) {
  const symbol = Buffer.from(instrument.symbol);
  const bytes = Buffer.alloc(2 + 1 + symbol.length + 3 + 7 * 8);
  const { price, quantity, tradeId, time, updateId } = instrument.reference;
  let at = bytes.writeUInt16LE(index);
  at = bytes.writeUInt8(symbol.length, at);
  at += symbol.copy(bytes, at);
  at = bytes.writeInt8(instrument.priceExponent, at);
  at = bytes.writeInt8(instrument.quantityExponent, at);
  at = bytes.writeInt8(instrument.timeExponent, at);
  at = bytes.writeBigInt64LE(price, at);
  for (const each of [quantity, tradeId, time, updateId, instrument.tick, instrument.lot]) {
    at = bytes.writeBigUInt64LE(each, at);
  }
  return bytes;
}
