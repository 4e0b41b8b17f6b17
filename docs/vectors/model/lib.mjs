// What every model uses: the conventions of docs/protocol.md ("Conventions") on the @noble libraries.
import { chacha20poly1305, xchacha20poly1305 } from '@noble/ciphers/chacha.js';
import { ed25519, x25519 } from '@noble/curves/ed25519.js';
import { argon2id } from '@noble/hashes/argon2.js';
import { expand, extract } from '@noble/hashes/hkdf.js';
import { hmac } from '@noble/hashes/hmac.js';
import { sha256, sha512 } from '@noble/hashes/sha2.js';
import { bytesToHex, concatBytes, hexToBytes, utf8ToBytes } from '@noble/hashes/utils.js';

export { sha256, sha512, x25519, ed25519 };
export const hex = (bytes) => bytesToHex(Uint8Array.from(bytes));
export const bin = (text) => hexToBytes(text ?? '');
export const ascii = utf8ToBytes;
export const cat = (...parts) => concatBytes(...parts.map((p) => Uint8Array.from(p)));
export const zero = (n) => new Uint8Array(n);
export const same = (a, b) => hex(a) === hex(b);
export const number = (size, value) => {
  const out = zero(size);
  for (let v = BigInt(value), i = size - 1; i >= 0; i--, v >>= 8n) out[i] = Number(v & 255n);
  return out;
};
export const u8 = (n) => number(1, n), u16 = (n) => number(2, n), u24 = (n) => number(3, n), u32 = (n) => number(4, n), u64 = (n) => number(8, n);
export const read = (bytes) => Number(bytes.reduce((v, x) => (v << 8n) | BigInt(x), 0n));
export const split = (bytes, ...sizes) => {
  let at = 0;
  return sizes.map((n) => bytes.slice(at, (at += n)));
};
export const compare = (a, b) => (hex(a) < hex(b) ? -1 : hex(a) > hex(b) ? 1 : 0); // bytewise, of one length

export const LP = (x) => cat(u32(x.length), x);
export const LP8 = (x) => cat(u8(x.length), x);
export const H = (...parts) => sha256(cat(...parts));
export const Hp = (...parts) => H(...parts.map(LP));
export const HMAC = (key, ...parts) => hmac(sha256, key, cat(...parts));
export const Ext = (salt, secret) => extract(sha256, secret, salt);
export const Exp = (key, info, n) => expand(sha256, key, info, n);
export const HKDF = (secret, ...info) => Exp(Ext(undefined, secret), cat(...info), 32);
export const seal = (key, nonce, ad, plain) => chacha20poly1305(key, nonce, ad).encrypt(plain);
export const open = (key, nonce, ad, sealed) => chacha20poly1305(key, nonce, ad).decrypt(sealed);
export const xseal = (key, nonce, ad, plain) => xchacha20poly1305(key, nonce, ad).encrypt(plain);
export const dh = (secret, pub) => x25519.getSharedSecret(secret, pub); // throws on low order
export const pub = (seed) => ed25519.getPublicKey(seed);
export const sign = (seed, label, ...parts) => ed25519.sign(cat(ascii(label), ...parts), seed);
export const verify = (key, label, sig, ...parts) => {
  try {
    return ed25519.verify(sig, cat(ascii(label), ...parts), key, { zip215: false });
  } catch {
    return false;
  }
};
export const argon2 = (password, salt) => argon2id(password, salt, { t: 3, m: 64 * 1024, p: 4, dkLen: 32 });
export const peerID = (key) => cat(bin('002408011220'), key);
export const userID = (root) => H(ascii('kith1 user'), u8(1), root, zero(32));
export const deviceID = (key) => H(ascii('kith1 device'), key);
export const mailboxID = (key) => H(ascii('kith1 mailbox'), key);

// Fails reads a record strictly: the reader calls what it needs, and everything has to be used up.
export function reader(bytes) {
  let at = 0;
  const take = (n) => {
    if (at + n > bytes.length) throw new Error('too short');
    return bytes.slice(at, (at += n));
  };
  const num = (n) => take(n).reduce((v, x) => (v << 8n) | BigInt(x), 0n);
  return {
    take, u8: () => Number(num(1)), u16: () => Number(num(2)), u24: () => Number(num(3)), u32: () => Number(num(4)), u64: () => num(8),
    lp: (most) => { const n = Number(num(4)); if (n > most) throw new Error('too long'); return take(n); },
    lp8: () => take(Number(num(1))),
    left: () => bytes.length - at, so_far: () => bytes.slice(0, at), rest: () => take(bytes.length - at),
    end: () => { if (at !== bytes.length) throw new Error('trailing bytes'); },
  };
}
export const must = (ok, why) => { if (!ok) throw new Error(why); };
export const refuses = (fn) => {
  try { fn(); return false; } catch { return true; }
};
