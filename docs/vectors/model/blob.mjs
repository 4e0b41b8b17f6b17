// Section "Attachments": every file of the vector file is sealed anew. Made of Node's own crypto instead of the @noble
// libraries, so that the primitives have a third implementation.
import { createCipheriv, createDecipheriv, createHash, hkdfSync } from 'node:crypto';
import { cat, bin, hex, must, refuses, u64, u8, zero } from './lib.mjs';

export const name = 'blob.json';
const MiB = 1 << 20;
const sha256 = (...parts) => parts.reduce((h, p) => h.update(p), createHash('sha256')).digest();
const subkey = (key, label) => Buffer.from(hkdfSync('sha256', key, Buffer.alloc(0), label, 32));

function seal(key, nonce, plain, ad) {
  const c = createCipheriv('chacha20-poly1305', key, nonce, { authTagLength: 16 });
  if (ad) c.setAAD(ad, { plaintextLength: plain.length });
  return Buffer.concat([c.update(plain), c.final(), c.getAuthTag()]);
}
function open(key, nonce, sealed, ad) {
  const c = createDecipheriv('chacha20-poly1305', key, nonce, { authTagLength: 16 });
  c.setAAD(ad, { plaintextLength: sealed.length - 16 });
  c.setAuthTag(sealed.subarray(sealed.length - 16));
  return Buffer.concat([c.update(sealed.subarray(0, sealed.length - 16)), c.final()]);
}

// Padmé, with 256 bytes at least.
function padded(size) {
  if (size <= 256) return 256;
  const e = BigInt(size).toString(2).length - 1, s = e.toString(2).length;
  const step = 2n ** BigInt(e - s);
  return Number((BigInt(size) + step - 1n) / step * step);
}

// CIDv1, raw, sha2-256, in base32.
function cid(digest) {
  const bytes = Buffer.concat([Buffer.from([1, 0x55, 0x12, 32]), digest]);
  let bits = [...bytes].map((b) => b.toString(2).padStart(8, '0')).join('');
  bits = bits.padEnd(Math.ceil(bits.length / 5) * 5, '0');
  return 'b' + bits.match(/.{5}/g).map((q) => 'abcdefghijklmnopqrstuvwxyz234567'[parseInt(q, 2)]).join('');
}

const commitmentOf = (key) => sha256('kith1 blob key', key);
function manifestOf(key, size, digests, f = {}) {
  const commitment = f.commitment ?? commitmentOf(key);
  const plain = Buffer.concat([Buffer.from([f.version ?? 1]), u64(size), ...digests]);
  return Buffer.concat([commitment, seal(subkey(key, 'kith1 blob manifest'), Buffer.alloc(12), plain, commitment)]);
}
function parseManifest(key, digest, raw) {
  must(raw.length <= 1048592 && sha256(raw).equals(digest), 'digest');
  must(Buffer.from(raw.subarray(0, 32)).equals(commitmentOf(key)), 'commitment');
  const plain = open(subkey(key, 'kith1 blob manifest'), Buffer.alloc(12), raw.subarray(32), raw.subarray(0, 32));
  const size = plain.readBigUInt64BE(1);
  must(plain[0] === 1 && size <= 32000n * BigInt(MiB), 'plain');
  must(plain.length === 9 + 32 * Math.ceil(padded(Number(size)) / MiB), 'as many digests as chunks');
}

function sealed(f) {
  const key = bin(f.key), total = padded(f.size), file = Buffer.alloc(total);
  for (let i = 0; i < f.size; i++) file[i] = 31 * i + (i >> 8);
  const n = Math.ceil(total / MiB), chunks = [];
  for (let i = 0; i < n; i++) {
    const nonce = Buffer.concat([u64(i), Buffer.from([i === n - 1 ? 1 : 0, 0, 0, 0])]);
    chunks.push(seal(subkey(key, 'kith1 blob chunk'), nonce, file.subarray(i * MiB, (i + 1) * MiB)));
  }
  const digests = chunks.map((c) => sha256(c)), manifest = manifestOf(key, f.size, digests);
  parseManifest(key, sha256(manifest), manifest);
  return {
    key: f.key, size: f.size, commitment: hex(commitmentOf(key)), chunk_digests: digests.map(hex), chunk_cids: digests.map(cid),
    chunk_sizes: chunks.map((c) => c.length), first_chunk_starts: hex(chunks[0].subarray(0, 64)), manifest: hex(manifest), manifest_digest: hex(sha256(manifest)),
  };
}

function refused() {
  const key = Buffer.from(sha256('a file key')), digest = sha256('a chunk'), good = manifestOf(key, 1000, [digest]);
  const cases = {
    'the commitment is that of the key': manifestOf(key, 1000, [digest], { commitment: commitmentOf(sha256('another key')) }), 'the version is 1': manifestOf(key, 1000, [digest], { version: 2 }),
    'a digest for each chunk': manifestOf(key, 1000, []), 'no more digests than chunks': manifestOf(key, 1000, [digest, digest]), 'not a byte is altered': Buffer.from(cat(good.subarray(0, 40), [good[40] ^ 1], good.subarray(41))),
    'a file of 31.25 GiB at most': manifestOf(key, 32000 * MiB + 1, [digest]), 'nothing is missing': good.subarray(0, 31),
  };
  return Object.entries(cases).map(([rule, manifest]) => {
    must(refuses(() => parseManifest(key, sha256(manifest), manifest)), `not refused: ${rule}`);
    return { rule, key: hex(key), manifest: hex(manifest), manifest_digest: hex(sha256(manifest)) };
  });
}

export const build = (v) => ({
  about: 'Attachments (docs/protocol.md, "Attachments"). Bytes are hex. Byte i of a file is (31 i + (i >> 8)) mod 256; everything else follows from key and size. Manifests of refused have the digest that stands there and must not open.',
  padded: v.padded.map(([size]) => [size, padded(size)]), files: v.files.map(sealed), refused: refused(),
});
