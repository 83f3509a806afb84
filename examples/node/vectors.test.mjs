/** The vectors of wire 2, run against this reader: node --test examples/node/vectors.test.mjs */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { FrameReader, Session, WireError, decimal, encodeRequest } from "./fanout.mjs";
import { decodePacket, listingOf } from "./packet.mjs";
import { FILE_HEADER_BYTES, decodeFileHeader } from "./segment.mjs";

const PATH = new URL("../../tests/data/wire/vectors.json", import.meta.url);
const VECTORS = JSON.parse(readFileSync(PATH, "utf8"));

const bytesOf = (frames) => Buffer.from(frames.join(""), "hex");

/** With every integer as a string: the file has strings for those a double cannot hold. */
function plain(value) {
  if (typeof value === "bigint" || Number.isInteger(value)) return value.toString();
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, plain(each)]));
}

// From the names of this library to those of the file.

const snakeCase = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

function snakeCased(value) {
  if (Array.isArray(value)) return value.map(snakeCased);
  if (value === null || typeof value !== "object") return value;
  const entries = Object.entries(value);
  return Object.fromEntries(entries.map(([name, each]) => [snakeCase(name), snakeCased(each)]));
}

function tradeTold({ instrument, ...trade }, header) {
  return {
    ...trade,
    index: header.instruments.indexOf(instrument),
    priceText: decimal(trade.price, instrument.priceExponent),
    quantityText: decimal(trade.quantity, instrument.quantityExponent),
  };
}

function indexed({ instrument, ...record }, header) {
  return { ...record, index: header.instruments.indexOf(instrument) };
}

function told({ type, ...event }, header) {
  if (type === "unknown") return { event: "skipped", ...event };
  if (type === "trades") {
    const trades = event.trades.map((trade) => tradeTold(trade, header));
    return { event: "block", ...event, trades };
  }
  if (type === "quotes") {
    return { event: type, ...event, quotes: event.quotes.map((each) => indexed(each, header)) };
  }
  if (type === "book" || type === "orders") {
    return { event: type, ...event, updates: event.updates.map((each) => indexed(each, header)) };
  }
  if (type === "features") {
    return { event: type, ...event, rows: event.rows.map((each) => indexed(each, header)) };
  }
  if (event.instrument === undefined) return { event: type, ...event };
  const { instrument, ...rest } = event;
  const index = instrument === null ? null : header.instruments.indexOf(instrument);
  return { event: type, index, ...rest };
}

function startOf(ask) {
  const start = ask?.start ?? "live";
  if (typeof start === "string") return start;
  if (start.time_ns !== undefined) return { timeNs: BigInt(start.time_ns) };
  return { epochNs: BigInt(start.epoch_ns), seq: BigInt(start.seq) };
}

/** Feeds a vector in pieces of `pieceBytes`; `found` has what came out, whatever happens. */
function run(vector, pieceBytes, found) {
  const session = new Session(startOf(vector.ask));
  const opening = vector.opened ? VECTORS.opening.frames : [];
  const stream = bytesOf([...opening, ...vector.frames]);
  for (let at = 0; at < stream.length; at += pieceBytes) {
    for (const event of session.feed(stream.subarray(at, at + pieceBytes))) {
      found.push(plain(snakeCased(told(event, session.header))));
    }
  }
  return session;
}

const expected = (vector) =>
  plain([...(vector.opened ? VECTORS.opening.events : []), ...vector.events]);

for (const pieceBytes of [1, 7, 1_000_000]) {
  const inPieces = `in pieces of ${pieceBytes} bytes`;

  for (const group of ["valid", "tolerated"]) {
    test(`${group}, ${inPieces}`, async (context) => {
      for (const vector of VECTORS[group]) {
        await context.test(vector.name, () => {
          const found = [];
          const session = run(vector, pieceBytes, found);
          assert.deepEqual(found, expected(vector));
          assert.equal(session.due, BigInt(vector.due));
        });
      }
    });
  }

  test(`must reject, ${inPieces}`, async (context) => {
    for (const vector of VECTORS.must_reject) {
      await context.test(vector.name, () => {
        const found = [];
        assert.throws(() => run(vector, pieceBytes, found), WireError, vector.rule);
        assert.deepEqual(found, expected(vector));
      });
    }
  });
}

test("segments are read as connections are", async (context) => {
  for (const vector of VECTORS.segments) {
    await context.test(vector.name, () => {
      const file = bytesOf([vector.file]);
      const { name, about, file: _, events, due, ...named } = vector;
      assert.deepEqual(plain(snakeCased(decodeFileHeader(file))), plain(named));
      const session = new Session();
      const found = [];
      for (const event of session.feed(file.subarray(FILE_HEADER_BYTES))) {
        found.push(plain(snakeCased(told(event, session.header))));
      }
      assert.deepEqual(found, plain(events));
      assert.equal(session.due, BigInt(due));
    });
  }
});

test("files that are no segments are refused", async (context) => {
  for (const { name, file, rule } of VECTORS.segments_must_reject) {
    await context.test(name, () => {
      assert.throws(() => decodeFileHeader(bytesOf([file])), WireError, rule);
    });
  }
});

test("packets are read one by one", async (context) => {
  for (const { name, about, packet, ...named } of VECTORS.packets) {
    await context.test(name, () => {
      const { frames, ...fields } = decodePacket(bytesOf([packet]));
      const told = { ...fields, frames: frames.map((each) => each.toString("hex")) };
      assert.deepEqual(plain(snakeCased(told)), plain(named));
    });
  }
});

test("packets that are not in order are skipped", async (context) => {
  for (const { name, packet, rule } of VECTORS.packets_must_reject) {
    await context.test(name, () => {
      assert.throws(() => decodePacket(bytesOf([packet])), WireError, rule);
    });
  }
});

test("a listing has its checksum", async (context) => {
  for (const { name, frames, listing } of VECTORS.listings) {
    await context.test(name, () => {
      const session = new Session();
      const start = Buffer.from("050000005354415254", "hex");
      assert.equal([...session.feed(Buffer.concat([start, bytesOf(frames)]))].length, 1);
      assert.equal(listingOf(session.header), listing);
    });
  }
});

function requestTold(request) {
  return { start: "live", slow: "skip", token: null, channel: "", ...request };
}

test("requests say what the vectors say", async (context) => {
  for (const { name, request } of VECTORS.requests) {
    await context.test(name, () => {
      const { slow, token, channel } = request;
      const start = startOf(request);
      const frame = encodeRequest({ start, slow, token: token ?? undefined, channel });
      const [payload] = new FrameReader().push(frame);
      assert.deepEqual(plain(requestTold(JSON.parse(payload))), plain(request));
    });
  }
});

test("requests that cannot be are not sent", async (context) => {
  const requests = VECTORS.writer_must_refuse.filter(({ value }) => value.event === "request");
  for (const { name, value } of requests) {
    await context.test(name, () => {
      const { slow, token, channel } = value;
      const request = { start: startOf(value), slow, token: token ?? undefined, channel };
      assert.throws(() => encodeRequest(request), RangeError);
    });
  }
});

test("an unfinished frame is held, and no more than that", () => {
  const frames = new FrameReader();
  assert.deepEqual([...frames.push(Buffer.from("ffff0000", "hex"))], []);
  assert.deepEqual([...frames.push(Buffer.alloc(60_000))], []);
  assert.equal(frames.heldBytes, 60_004);
});
