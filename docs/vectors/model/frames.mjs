// Sections "Relay protocol" and "Chunks": frames. Each is taken apart by the .proto file beside the package, which is part
// of the document, put together again, and looked into where something is signed.
import { readFileSync } from 'node:fs';
import { H, LP, ascii, bin, cat, hex, mailboxID, must, peerID, pub, refuses, u32, u8, verify } from './lib.mjs';

// The fields of a message in a .proto file: number -> name, of the messages that matter (no nesting in these files).
function fieldsOf(proto, message) {
  const text = readFileSync(new URL(`../../../${proto}`, import.meta.url), 'utf8');
  const body = new RegExp(`message ${message} \\{([\\s\\S]*?)\\n\\}`).exec(text)[1].replace(/\/\/.*/g, '');
  return new Map([...body.matchAll(/(?:repeated )?([\w.]+) (\w+) = (\d+)/g)].map(([, type, field, n]) => [Number(n), { type, field }]));
}

function varint(bytes, at) {
  let v = 0n;
  for (let i = 0; ; i++) {
    must(i < 10 && at + i < bytes.length, 'varint');
    v |= BigInt(bytes[at + i] & 127) << BigInt(7 * i);
    if (bytes[at + i] < 128) {
      must(i === 0 || bytes[at + i] !== 0, 'not the shortest form');
      return [v, at + i + 1];
    }
  }
}
function putVarint(v) {
  const out = [];
  for (v = BigInt(v); v >= 128n; v >>= 7n) out.push(Number(v & 127n) | 128);
  return [...out, Number(v)];
}

// A message is a list of [number, value]: a bigint or bytes.
function parse(bytes) {
  const out = [];
  for (let at = 0, key, v; at < bytes.length; ) {
    [key, at] = varint(bytes, at);
    must((key & 7n) === 0n || (key & 7n) === 2n, 'wire type');
    [v, at] = varint(bytes, at);
    if ((key & 7n) === 2n) {
      must(at + Number(v) <= bytes.length, 'too short');
      [v, at] = [bytes.slice(at, at + Number(v)), at + Number(v)];
    }
    out.push([Number(key >> 3n), v]);
  }
  return out;
}
export const encode = (fields) => cat(...fields.map(([n, v]) => (typeof v === 'bigint' ? cat(putVarint(n << 3), putVarint(v)) : cat(putVarint((n << 3) | 2), putVarint(v.length), v))));

function unframe(frame) {
  const [size, at] = varint(frame, 0);
  must(size >= 1n && size <= 65536n && frame.length === at + Number(size), 'length');
  return frame.slice(at);
}
const framed = (body) => cat(putVarint(body.length), body);

const relayKey = pub(H(ascii('relay'))), boxSeed = H(ascii('box')), box = pub(boxSeed);
const requestSigned = (sig, verb, content) => verify(box, 'kith1 relay request sig', sig, u8(verb), LP(peerID(relayKey)), mailboxID(box), LP(content));

// Frames of one direction: what each says has to be the field of that name, and the bytes its shortest encoding.
function check(proto, message, frames, look) {
  const known = fieldsOf(proto, message);
  return frames.map(({ what, frame }) => {
    const fields = parse(unframe(bin(frame))), said = fields.filter(([n]) => known.get(n)?.field === what);
    must(said.length === 1 && fields.every(([n]) => known.has(n)), `${what}: says something else`);
    if (typeof said[0][1] !== 'bigint') look?.(what, said[0][1]);
    return { what, frame: hex(framed(encode(fields))) };
  });
}

const REFUSED = { 'no empty frame': '00', 'a length in its shortest form': '800100', 'as many bytes as it says': '0308', 'not more than 65,536 bytes': '818004' };
const refused = () => Object.entries(REFUSED).map(([rule, frame]) => {
  must(refuses(() => unframe(bin(frame))), `not refused: ${rule}`);
  return { rule, frame };
});

export const relay = {
  name: 'relay.json',
  build: (v) => ({
    about: 'Frames between clients and relays (docs/protocol.md, "Relay protocol"). Bytes are hex, the length prefix included. The box key has the seed SHA-256("box"), the relay\'s key SHA-256("relay"). Frames of refused end the stream.',
    asks: check('mailbox/relay/pb/relay.proto', 'Ask', v.asks, (what, body) => {
      const f = Object.fromEntries(parse(body));
      if (what === 'reserve') { const r = Object.fromEntries(parse(f[1])); must(requestSigned(r[2], 1, new Uint8Array()), 'reserve'); }
      if (what === 'ack') must(requestSigned(f[3], 3, f[2]), 'ack');
    }),
    answers: check('mailbox/relay/pb/relay.proto', 'Answer', v.answers),
    refused: refused(),
  }),
};

export const blobs = {
  name: 'blob-frames.json',
  build: (v) => ({
    about: 'Frames about chunks (docs/protocol.md, "Chunks"). Bytes are hex, the length prefix included. The box key has the seed SHA-256("box"), the relay\'s key SHA-256("relay"). put_signs is the content of the signature in put.',
    put_signs: v.put_signs,
    asks: check('mailbox/blobs/pb/blobs.proto', 'Ask', v.asks, (what, body) => {
      const f = Object.fromEntries(parse(body)), last = parse(body).at(-1)[1];
      if (what === 'put') must(requestSigned(last, 4, bin(v.put_signs.frame)) && hex(bin(v.put_signs.frame)).startsWith(hex(f[1])), 'put');
      if (what === 'drop') must(requestSigned(last, 5, f[1]), 'drop');
    }),
    answers: check('mailbox/blobs/pb/blobs.proto', 'Answer', v.answers),
  }),
};
