/**
 * The small change of wire 2: CRC-32, and a cursor that reads fields from a payload.
 *
 * The one idea: every read asks first whether the bytes are there. No length or count that came
 * over the network is used before it was held against what has really arrived.
 */

/** The peer broke the wire. The connection is of no further use: nothing after it can be trusted. */
export class WireError extends Error {
  name = "WireError";
}

export const U64_MAX = 2n ** 64n - 1n;

export const MAX_SEQ = 2n ** 63n - 1n;

const CRC_BYTES = 4;

// From the polynomial, since zlib.crc32 is in Node only from 20.15 on.
const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit += 1) {
    crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return crc;
});

/** CRC-32 as in zlib, PNG and Ethernet, of a Uint8Array: a number from 0 to 2^32 - 1. */
export function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc = CRC_TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  }
  return (crc ^ 0xffffffff) >>> 0;
}

/** A payload's bytes before its CRC, which is right. Throws WireError if it is not. */
export function checkedBody(payload) {
  const bodyBytes = payload.length - CRC_BYTES;
  if (bodyBytes < 1) {
    throw new WireError(`payload of ${payload.length} bytes has no room for a kind and a CRC`);
  }
  const body = payload.subarray(0, bodyBytes);
  const told = viewOf(payload).getUint32(bodyBytes, true);
  const found = crc32(body);
  if (told !== found) {
    throw new WireError(`CRC is ${found.toString(16)}, the frame says ${told.toString(16)}`);
  }
  return body;
}

/** A Node Buffer often lies in the middle of a larger ArrayBuffer: the offset matters. */
export function viewOf(bytes) {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

// `fatal`: bytes that are no UTF-8 are an error and not U+FFFD. `ignoreBOM`: a leading U+FEFF is
// part of the text; without it the decoder drops it in silence, and two symbols may become one.
const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The value, which has to lie within these limits. Throws WireError if it does not. */
export function within(value, least, most, field) {
  if (value < least || value > most) {
    throw new WireError(`${field} ${value} is not from ${least} to ${most}`);
  }
  return value;
}

/** The next field of `fields`, which is a sequence number. */
export const seqOf = (fields, field) => within(fields.u64(field), 1n, MAX_SEQ, field);

/** From a code to its name. Codes that a newer service may add to are read as OTHER. */
export const codes = (...names) => (code) => names[code] ?? "OTHER";

/**
 * Reads fields one after the other. Each method takes the field's name, for its error message, and
 * throws WireError if the bytes end before the field does. u64 and i64 are BigInt, the others
 * numbers.
 */
export class Fields {
  #bytes;
  #view;
  #at = 0;

  /** @param bytes Uint8Array; it is looked at, not copied */
  constructor(bytes) {
    this.#bytes = bytes;
    this.#view = viewOf(bytes);
  }

  u8(field) {
    return this.#view.getUint8(this.#skip(1, field));
  }

  i8(field) {
    return this.#view.getInt8(this.#skip(1, field));
  }

  u16(field) {
    return this.#view.getUint16(this.#skip(2, field), true);
  }

  u32(field) {
    return this.#view.getUint32(this.#skip(4, field), true);
  }

  u64(field) {
    return this.#view.getBigUint64(this.#skip(8, field), true);
  }

  i64(field) {
    return this.#view.getBigInt64(this.#skip(8, field), true);
  }

  /** A double, which is a number and finite. */
  f64(field) {
    const value = this.#view.getFloat64(this.#skip(8, field), true);
    if (!Number.isFinite(value)) throw new WireError(`${field} ${value} is not finite`);
    return value;
  }

  /** An unsigned LEB128 number of at most 64 bits, in as few bytes as it needs. */
  varint(field) {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.u8(field);
      value |= BigInt(byte & 0x7f) << shift;
      if (byte & 0x80) continue;
      if (byte === 0 && shift > 0n) throw new WireError(`${field}: varint longer than it needs`);
      if (value > U64_MAX) throw new WireError(`${field}: varint of more than 64 bits`);
      return value;
    }
    throw new WireError(`${field}: varint of more than ten bytes`);
  }

  /** A difference from -2^63 to 2^63 - 1. The caller adds it modulo 2^64. */
  zigzag(field) {
    const z = this.varint(field);
    return (z >> 1n) ^ -(z & 1n);
  }

  /** One length byte and that many bytes of UTF-8. */
  text(field) {
    const encoded = this.bytes(this.u8(field), field);
    try {
      return UTF8.decode(encoded);
    } catch (cause) {
      throw new WireError(`${field} is not UTF-8`, { cause });
    }
  }

  /** The next `count` bytes: a view of them, not a copy. */
  bytes(count, field) {
    const from = this.#skip(count, field);
    return this.#bytes.subarray(from, from + count);
  }

  #skip(count, field) {
    const from = this.#at;
    const left = this.#bytes.length - from;
    if (count > left) {
      throw new WireError(`${field}: payload is cut short, ${count} bytes wanted, ${left} left`);
    }
    this.#at = from + count;
    return from;
  }
}
