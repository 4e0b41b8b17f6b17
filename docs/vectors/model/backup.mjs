// "Backups" of docs/storage.md: the head, who opens it, and the chunks. The encapsulation is taken from the file; all else
// follows from the words and the records, and the file is put together again from them.
import { ml_kem768_x25519 as xwing } from '@noble/post-quantum/hybrid.js';
import { Exp, Ext, H, HKDF, argon2, ascii, bin, cat, hex, must, open, reader, refuses, same, seal, u16, u32, u64, u8, zero } from './lib.mjs';

export const name = 'backup.json';
const MAGIC = ascii('kith1 backup'), PIECE = 65536;

// HPKE (RFC 9180): base mode, X-Wing, HKDF-SHA256, export-only.
const SUITE = cat(ascii('HPKE'), u16(0x647a), u16(1), u16(0xffff));
const extractL = (salt, label, ikm) => Ext(salt, cat(ascii('HPKE-v1'), SUITE, ascii(label), ikm));
const expandL = (prk, label, info, n) => Exp(prk, cat(u16(n), ascii('HPKE-v1'), SUITE, ascii(label), info), n);
function exported(shared, info, context, n) {
  const schedule = cat(u8(0), extractL(undefined, 'psk_id_hash', []), extractL(undefined, 'info_hash', info));
  const secret = extractL(shared, 'secret', []);
  return expandL(expandL(secret, 'exp', schedule, 32), 'sec', context, n);
}

const rootSeed = (phrase) => argon2(ascii(phrase), ascii('kith1 root'));
const nonce = (i, last) => cat(u64(i), u8(last ? 1 : 0), zero(3));
const fileKeyOf = (secret, head) => HKDF(secret, ascii('kith1 backup file'), head);
const commitment = (key) => H(ascii('kith1 blob key'), key);

function chunksOf(key, plain) {
  const sub = HKDF(key, ascii('kith1 blob stream')), out = [];
  for (let i = 0; i * PIECE < plain.length; i++) out.push(seal(sub, nonce(i, (i + 1) * PIECE >= plain.length), undefined, plain.slice(i * PIECE, (i + 1) * PIECE)));
  return cat(...out);
}
function plainOf(key, chunks) {
  const sub = HKDF(key, ascii('kith1 blob stream')), out = [];
  for (let i = 0, at = 0; at < chunks.length; i++, at += PIECE + 16) out.push(open(sub, nonce(i, at + PIECE + 16 >= chunks.length), undefined, chunks.slice(at, at + PIECE + 16)));
  return cat(...out);
}

function headOf(file) {
  must(file.length >= 14 && same(file.slice(0, 12), MAGIC) && file[12] > 0, 'foreign');
  must(file[12] === 1, 'newer');
  const n = { 1: 16, 2: 1120 }[file[13]];
  must(n && file.length >= 14 + n + 64 && same(H(file.slice(0, 46 + n)), file.slice(46 + n, 78 + n)), 'damaged');
  return { head: file.slice(0, 14 + n), data: file.slice(14, 14 + n), commitment: file.slice(14 + n, 46 + n), chunks: file.slice(78 + n) };
}
function unlock(file, words) {
  const f = headOf(file), pair = words.phrase && xwing.keygen(HKDF(rootSeed(words.phrase), ascii('kith1 backup key')));
  const secret = pair ? exported(xwing.decapsulate(f.data, pair.secretKey), ascii('kith1 backup'), ascii('kith1 backup'), 32) : argon2(ascii(words.passphrase), f.data);
  const key = fileKeyOf(secret, f.head);
  must(same(commitment(key), f.commitment), 'key');
  let plain;
  must(!refuses(() => { plain = plainOf(key, f.chunks); }), 'damaged');
  for (const r = reader(plain); r.left();) { const n = r.u32(); must(n >= 1 && n <= 40960, 'damaged'); r.take(n); }
  const again = cat(f.head, commitment(key));
  must(same(cat(again, H(again), chunksOf(key, plain)), file), 'another file comes of it');
  return { pair, secret, key, plain };
}

export function build(v) {
  const backups = v.backups.map((x) => {
    const { pair, secret, key, plain } = unlock(bin(x.file), x);
    const seed = pair && HKDF(rootSeed(x.phrase), ascii('kith1 backup key'));
    return { ...(pair ? { phrase: x.phrase, seed: hex(seed), public_key: hex(pair.publicKey) } : { passphrase: x.passphrase }), secret: hex(secret), file_key: hex(key), records: hex(plain), file: x.file };
  });
  const last = v.backups.at(-1);
  for (const x of v.refused) {
    let why = 'nothing';
    try { unlock(bin(x.file), last); } catch (err) { why = err.message; }
    must(why === x.why, `${x.name}: ${why}, not ${x.why}`);
  }
  return { about: v.about, backups, refused: v.refused };
}
