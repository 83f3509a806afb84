/**
 * A segment of a journal, read as it lies there: 64 bytes, and then what a connection would bring.
 *
 * `new Session().feed(...)` takes the bytes behind the first 64, whole or in pieces.
 */

import { createReadStream } from "node:fs";

import { Fields, WireError, crc32, seqOf } from "./bytes.mjs";
import { Session } from "./fanout.mjs";

export const FILE_HEADER_BYTES = 64;

const CRC_AT = 60;

/** `{epochNs, firstSeq, createdNs}`, all BigInt. Throws WireError for what begins no segment. */
export function decodeFileHeader(bytes) {
  const fields = new Fields(bytes.subarray(0, FILE_HEADER_BYTES));
  const magic = fields.bytes(8, "magic");
  if (!Buffer.from("fanoutFJ").equals(magic)) throw new WireError("the file is no segment");
  const version = fields.u16("version");
  const headerBytes = fields.u16("header bytes");
  if (version !== 1 || headerBytes !== FILE_HEADER_BYTES) {
    throw new WireError(`version ${version} of the file, ${headerBytes} bytes before its frames`);
  }
  fields.u32("reserved");
  const header = {
    epochNs: fields.u64("epoch_ns"),
    firstSeq: seqOf(fields, "first_seq"),
    createdNs: fields.u64("created_ns"),
  };
  fields.bytes(20, "reserved");
  if (fields.u32("crc") !== crc32(bytes.subarray(0, CRC_AT))) {
    throw new WireError("the CRC of the file's first bytes does not match");
  }
  return header;
}

/** The events of a segment, up to its last whole frame. */
export async function* readSegment(path, session = new Session()) {
  let begun = Buffer.alloc(0);
  let isOpen = false;
  for await (const chunk of createReadStream(path)) {
    if (isOpen) {
      yield* session.feed(chunk);
      continue;
    }
    begun = Buffer.concat([begun, chunk]);
    if (begun.length < FILE_HEADER_BYTES) continue;
    decodeFileHeader(begun);
    isOpen = true;
    yield* session.feed(begun.subarray(FILE_HEADER_BYTES));
  }
  if (!isOpen) decodeFileHeader(begun);
}
