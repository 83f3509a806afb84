/**
 * A reader of fanout's wire 2 for Node, written from protocol/WIRE.md.
 *
 * Three layers, each usable alone. `FrameReader` cuts a stream of bytes into payloads. `Session`
 * takes bytes and gives events; it knows which sequence number is due, so that a loss nobody spoke
 * of is told as well. `connect` is a Session over TCP. The first two do no I/O and know no clock.
 *
 * What it refuses: floating point. Prices and quantities are BigInt, `decimal` spells them out.
 */

import net from "node:net";

import { recordsOf } from "./blocks.mjs";
import { MAX_SEQ, U64_MAX, WireError, checkedBody, viewOf } from "./bytes.mjs";
import {
  HEADER,
  INSTRUMENTS,
  decodeHeader,
  decodeInstruments,
  decodeMessage,
  requireSameSymbols,
} from "./payloads.mjs";

export { WireError, crc32 } from "./bytes.mjs";
export { decimal } from "./payloads.mjs";

const LENGTH_BYTES = 4;
const MAX_PAYLOAD_BYTES = 65_536;
const MAX_REQUEST_BYTES = 4_096;

const START = Buffer.from("START");

/** The connection ended without the goodbye: what was due last is where to resume. */
export class Disconnected extends Error {
  name = "Disconnected";
}

/** Cuts a stream into payloads. Holds at most one unfinished frame: 65,540 bytes. */
export class FrameReader {
  #held = Buffer.alloc(0);

  /** How many bytes of an unfinished frame are held. */
  get heldBytes() {
    return this.#held.length;
  }

  /** The payloads that `chunk`, of any size, completes. Throws WireError at a bad length. */
  *push(chunk) {
    let rest = this.#held.length > 0 ? Buffer.concat([this.#held, chunk]) : Buffer.from(chunk);
    this.#held = Buffer.alloc(0);
    while (rest.length >= LENGTH_BYTES) {
      const frameBytes = LENGTH_BYTES + payloadBytes(rest);
      if (rest.length < frameBytes) break;
      yield rest.subarray(LENGTH_BYTES, frameBytes);
      rest = rest.subarray(frameBytes);
    }
    this.#held = rest;
  }
}

/** Checked as soon as it is there, so that a corrupt length costs neither memory nor waiting. */
function payloadBytes(frame) {
  const bytes = viewOf(frame).getUint32(0, true);
  if (bytes < 1 || bytes > MAX_PAYLOAD_BYTES) {
    throw new WireError(`payload of ${bytes} bytes, it has from 1 to ${MAX_PAYLOAD_BYTES}`);
  }
  return bytes;
}

/**
 * The frame that asks where to begin. Throws RangeError for what no service understands.
 *
 * @param start "live", "oldest", {epochNs, seq} or {timeNs}, all BigInt
 * @param slow "skip" or "disconnect": what becomes of a reader that cannot keep up
 * @param token what the service wants to know a reader by, if anything
 * @param channel the channel's name; empty for the service's first
 */
export function encodeRequest({ start = "live", slow = "skip", token, channel = "" } = {}) {
  if (channel !== "" && !/^[a-z0-9][a-z0-9._-]{0,31}$/.test(channel)) {
    throw new RangeError(`${JSON.stringify(channel)} is no name of a channel`);
  }
  // JSON.stringify leaves out what is undefined: the defaults need not be said.
  const asked = {
    start: typeof start === "string" ? otherThan("live", start) : placeAsked(start),
    slow: otherThan("skip", slow),
    token,
    channel: otherThan("", channel),
  };
  const json = Buffer.from(JSON.stringify(asked));
  if (json.length > MAX_REQUEST_BYTES) {
    throw new RangeError(`request of ${json.length} bytes, the most is ${MAX_REQUEST_BYTES}`);
  }
  const frame = Buffer.alloc(LENGTH_BYTES + json.length);
  frame.writeUInt32LE(json.length);
  json.copy(frame, LENGTH_BYTES);
  return frame;
}

const otherThan = (usual, value) => (value === usual ? undefined : value);

/** As strings of digits: JSON.stringify takes no BigInt, and a double would lose digits. */
function placeAsked({ epochNs, seq, timeNs }) {
  if (timeNs !== undefined) {
    if (timeNs < 0n || timeNs > U64_MAX) throw new RangeError(`no time ${timeNs} can be`);
    return { time_ns: timeNs.toString() };
  }
  if (epochNs < 0n || epochNs > U64_MAX || seq < 1n || seq > MAX_SEQ) {
    throw new RangeError(`no number ${seq} of an epoch ${epochNs} can be`);
  }
  return { epoch_ns: epochNs.toString(), seq: seq.toString() };
}

/** What is legal when: START, then the header and its instruments, then messages until END. */
const Phase = Object.freeze({
  START: "START",
  HEADER: "header",
  LISTING: "instruments",
  OPEN: "message",
  ENDED: "end",
});

/** One connection as a value: bytes in, events out. */
export class Session {
  #frames = new FrameReader();
  #phase = Phase.START;
  #start;
  // Until something that was numbered came, an END refuses a request to begin elsewhere than live.
  // Nothing is lost by it: what was asked for can be asked for again.
  #mayBeRefused;

  // The epoch is over and all of it was sent: the one after it is next, whatever its name.
  #isOver = false;

  // The header whose instruments are still coming, how many it has in the end, and whether it is
  // the connection's first.
  #gathering = null;
  // The longest list of instruments so far: an index keeps its symbol.
  #listed = [];

  /** The newest header that has all its instruments, or null: it counts from the next frame on. */
  header = null;
  /** The sequence number that is due, a BigInt, or null: before the header, and where a time was
   * asked for until a number comes. */
  due = null;
  /** How many frames of unknown kinds were skipped. */
  skipped = 0;

  /** @param start what was asked for: "live", "oldest", {epochNs, seq} or {timeNs} */
  constructor(start = "live") {
    this.#start = start;
    this.#mayBeRefused = start !== "live";
  }

  get ended() {
    return this.#phase === Phase.ENDED;
  }

  /** Where to ask to begin after this connection: nothing is missed and nothing comes twice. */
  get resume() {
    if (this.#isOver) return { epochNs: this.header.epochNs + 1n, seq: 1n };
    return this.due === null ? this.#start : { epochNs: this.header.epochNs, seq: this.due };
  }

  /**
   * The events in `chunk`: what payloads.mjs and blocks.mjs decode, and `{type: "hole", firstSeq, lastSeq}` where
   * numbers are lost and nobody said so. Throws WireError where the wire is broken; the events
   * before that are good.
   */
  *feed(chunk) {
    for (const payload of this.#frames.push(chunk)) {
      yield* this.#eventsOf(payload);
    }
  }

  *#eventsOf(payload) {
    if (this.#phase === Phase.ENDED) throw new WireError("a frame after END");
    if (START.equals(payload) !== (this.#phase === Phase.START)) {
      throw new WireError(`${this.#phase} is due, not ${payload.subarray(0, 8).toString("hex")}`);
    }
    if (this.#phase === Phase.START) {
      this.#phase = Phase.HEADER;
      return;
    }
    const body = checkedBody(payload);
    const kind = body[0];
    if (this.#phase === Phase.HEADER && kind !== HEADER) {
      throw new WireError(`kind ${kind} where a header of wire 2 is due`);
    }
    if (this.#phase === Phase.LISTING) yield* this.#listOn(body);
    else if (kind === HEADER) yield* this.#begin(body);
    else if (kind === INSTRUMENTS) yield this.#change(body);
    else yield* this.#message(decodeMessage(body, this.header));
  }

  /** A header, the first or a later one: it counts once it has its instruments. */
  *#begin(body) {
    this.#gathering = { ...decodeHeader(body), isFirst: this.#phase === Phase.HEADER };
    this.#phase = Phase.LISTING;
    yield* this.#gathered();
  }

  *#listOn(body) {
    if (body[0] !== INSTRUMENTS) throw new WireError(`kind ${body[0]} where instruments are due`);
    const known = this.#gathering.header.instruments.length;
    const { first, header } = decodeInstruments(body, this.#gathering.header);
    if (first !== known || header.instruments.length > this.#gathering.count) {
      throw new WireError(`instruments from ${first} on, ${known} are there`);
    }
    this.#gathering.header = header;
    yield* this.#gathered();
  }

  *#gathered() {
    const { header, count, isFirst } = this.#gathering;
    if (header.instruments.length < count) return;
    this.#phase = Phase.OPEN;
    if (isFirst) {
      this.due = firstDue(this.#start, header);
    } else {
      if (header.epochNs !== this.header.epochNs) {
        throw new WireError(`epoch ${header.epochNs} in the middle of ${this.header.epochNs}`);
      }
      if (`${header.columns}` !== `${this.header.columns}`) {
        throw new WireError("other columns in the middle of an epoch");
      }
      requireSameSymbols(this.#listed, header.instruments);
      yield* this.#advance(header.nextSeq, header.nextSeq);
    }
    this.#use(header);
    yield header;
  }

  /** Instruments that are added or changed in mid-stream. */
  #change(body) {
    const { first, count, header } = decodeInstruments(body, this.header);
    requireSameSymbols(this.#listed, header.instruments);
    this.#use(header);
    return { type: "instruments", first, instruments: header.instruments.slice(first, first + count) };
  }

  #use(header) {
    if (header.instruments.length > this.#listed.length) this.#listed = header.instruments;
    this.header = header;
  }

  *#message(message) {
    const [first, next] = this.#numbersOf(message);
    if (first !== null) yield* this.#advance(first, next);
    if (message.type === "end") {
      this.#phase = Phase.ENDED;
      this.#isOver = message.reason === "EPOCH_OVER";
    }
    if (message.type === "unknown") this.skipped += 1;
    yield message;
  }

  /** The number a message stands at and the one that is due after it; nulls for neither. */
  #numbersOf(message) {
    switch (message.type) {
      case "trades":
      case "quotes":
      case "book":
      case "orders":
      case "features":
        if (message.snapshot) return [null, null];
        return [message.firstSeq, message.firstSeq + BigInt(recordsOf(message).length)];
      case "status":
      case "gap":
        return [message.seq, message.seq + 1n];
      case "loss":
        return [message.firstSeq, message.lastSeq + 1n];
      case "heartbeat":
        return [message.nextSeq, message.nextSeq];
      case "end":
        if (this.#mayBeRefused) return [null, null];
        return [message.lastSeq + 1n, message.lastSeq + 1n];
      default: // of an unknown kind, which may have numbers all the same
        if (message.firstSeq === undefined) return [null, null];
        return [message.firstSeq, message.lastSeq + 1n];
    }
  }

  /** Step over what was lost without a word, and refuse to go back. */
  *#advance(first, next) {
    if (this.due !== null && first < this.due) throw new WireError(`number ${first} comes again, ${this.due} is due`);
    if (this.due !== null && first > this.due) {
      yield { type: "hole", firstSeq: this.due, lastSeq: first - 1n };
    }
    this.due = next;
    this.#mayBeRefused = false;
  }

}

function firstDue(start, { epochNs, nextSeq }) {
  if (start === "live") return nextSeq;
  if (start.timeNs !== undefined) return null;
  if (start === "oldest" || start.epochNs !== epochNs) return 1n;
  return start.seq < nextSeq ? start.seq : nextSeq; // what is still to come is not due
}

/**
 * The events of one TCP connection, until END.
 *
 * An async generator: leaving its loop closes the connection. The socket is read only as fast as
 * events are taken, so memory is bounded and it is the service that decides about a slow reader.
 *
 * @param session a fresh Session; its `resume` says afterwards where to carry on
 * @param request what encodeRequest takes; its `start` is the session's
 * @param silenceMs a service says something each second; after this long without, it is gone
 * @throws WireError, Disconnected, or what the socket throws
 */
export async function* connect(host, port, session, request = {}, silenceMs = 5_000) {
  const hello = encodeRequest(request); // before there is a socket to leave behind
  const socket = net.connect({ host, port });
  socket.setTimeout(silenceMs, () => socket.destroy(new Disconnected(`silent for ${silenceMs} ms`)));
  socket.write(hello);
  try {
    for await (const chunk of socket) {
      yield* session.feed(chunk);
      if (session.ended) return;
    }
  } finally {
    socket.destroy();
  }
  throw new Disconnected("the connection was closed without END");
}
