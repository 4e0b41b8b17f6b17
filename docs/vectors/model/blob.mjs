// A second implementation of section "Attachments" of docs/protocol.md, written from that document on
// nothing but Node's own crypto. It seals every file of a vector file and compares every byte.
//
//   node blob.mjs ../blob.json
import { createCipheriv, createHash, hkdfSync } from 'node:crypto';
import { readFileSync } from 'node:fs';

const v = JSON.parse(readFileSync(process.argv[2] ?? '../blob.json'));
const MiB = 1 << 20;
const sha256 = (...parts) => parts.reduce((h, p) => h.update(p), createHash('sha256')).digest();
const subkey = (key, label) => Buffer.from(hkdfSync('sha256', key, Buffer.alloc(0), label, 32));
const u64 = (n) => { const b = Buffer.alloc(8); b.writeBigUInt64BE(BigInt(n)); return b; };

function seal(key, nonce, plain, ad) {
  const c = createCipheriv('chacha20-poly1305', key, nonce, { authTagLength: 16 });
  if (ad) c.setAAD(ad, { plaintextLength: plain.length });
  return Buffer.concat([c.update(plain), c.final(), c.getAuthTag()]);
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

let failed = 0;
const same = (what, got, want) => {
  if (JSON.stringify(got) !== JSON.stringify(want)) { failed++; console.error(`${what}:\n  got  ${got}\n  want ${want}`); }
};
for (const [size, want] of v.padded) same(`padded ${size}`, padded(size), want);
for (const f of v.files) {
  const key = Buffer.from(f.key, 'hex'), total = padded(f.size), file = Buffer.alloc(total);
  for (let i = 0; i < f.size; i++) file[i] = 31 * i + (i >> 8);
  const n = Math.ceil(total / MiB), chunks = [];
  for (let i = 0; i < n; i++) {
    const nonce = Buffer.concat([u64(i), Buffer.from([i === n - 1 ? 1 : 0, 0, 0, 0])]);
    chunks.push(seal(subkey(key, 'kith1 blob chunk'), nonce, file.subarray(i * MiB, (i + 1) * MiB)));
  }
  const digests = chunks.map((c) => sha256(c));
  const commitment = sha256('kith1 blob key', key);
  const plain = Buffer.concat([Buffer.from([1]), u64(f.size), ...digests]);
  const manifest = Buffer.concat([commitment, seal(subkey(key, 'kith1 blob manifest'), Buffer.alloc(12), plain, commitment)]);
  same(`${f.size}: commitment`, commitment.toString('hex'), f.commitment);
  same(`${f.size}: digests`, digests.map((d) => d.toString('hex')), f.chunk_digests);
  same(`${f.size}: cids`, digests.map(cid), f.chunk_cids);
  same(`${f.size}: sizes`, chunks.map((c) => c.length), f.chunk_sizes);
  same(`${f.size}: first bytes`, chunks[0].subarray(0, 64).toString('hex'), f.first_chunk_starts);
  same(`${f.size}: manifest`, manifest.toString('hex'), f.manifest);
  same(`${f.size}: manifest digest`, sha256(manifest).toString('hex'), f.manifest_digest);
}
console.log(failed ? `${failed} differ` : `${v.files.length} files and ${v.padded.length} sizes agree`);
process.exit(failed ? 1 : 0);
