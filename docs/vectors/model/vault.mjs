// "The key file" of docs/storage.md: the file in its versions 1 and 2, marks, sealed values and blinded names.
import { H, HMAC, argon2, ascii, bin, cat, hex, must, reader, refuses, same, split, u32, u64, u8, xseal } from './lib.mjs';
import { xchacha20poly1305 } from '@noble/ciphers/chacha.js';

export const name = 'vault.json';
const MAGIC = (version) => cat(ascii('kith1 vault'), [version]);
const NEWER = 'written by a newer kith';

const ringOf = (serial, keys) => cat(u32(serial), u8(keys.length), ...keys.map((k) => cat(u64(k.made), bin(k.key))));
const keyring1 = (blinding, keys) => cat(blinding, u8(keys.length), ...keys.map((k) => cat(u8(k.number), k.key)));
function fileOf(version, ring, passphrase, salt, nonce) {
  const head = passphrase ? cat(MAGIC(version), u8(1), salt) : cat(MAGIC(version), u8(0));
  const body = passphrase ? cat(head, nonce, xseal(argon2(passphrase, salt), nonce, head, ring)) : cat(head, ring);
  return cat(body, H(body));
}

function openFile(file, passphrase) {
  const body = file.slice(0, -32);
  must(file.length <= 1423 && same(H(body), file.slice(-32)) && same(body.slice(0, 11), MAGIC(0).slice(0, 11)) && body[11] > 0 && body[12] <= 1, 'damaged');
  must(body[11] <= 2, NEWER);
  let ring = body.slice(13);
  if (body[12] === 1) {
    const [head, nonce] = split(body, 29, 24);
    ring = xchacha20poly1305(argon2(passphrase, head.slice(13)), nonce, head).decrypt(body.slice(53));
  }
  const r = reader(ring), blinding = r.take(32), rings = [];
  for (let i = 0; i < body[11]; i++) {
    const first = body[11] === 2 ? r.u32() : undefined, n = r.u8(), keys = [];
    must(n >= 1 && n <= 16, 'damaged');
    for (let k = 0; k < n; k++) {
      if (body[11] === 2) keys.push({ number: (first + k) & 255, made: r.u64(), key: r.take(32) });
      else keys.push({ number: r.u8(), key: r.take(32) });
    }
    must(keys.every((k, j) => j === 0 || k.number === ((keys[j - 1].number + 1) & 255)), 'damaged');
    rings.push(keys);
  }
  r.end();
  return { blinding, lasting: rings[0], fleeting: rings[1] ?? rings[0] };
}

const sealValue = (k, nonce, place, value) => cat(u8(k.number), nonce, xseal(k.key, nonce, place, value));
function openValue(keys, place, sealed) {
  const k = keys.find((x) => x.number === sealed[0]);
  return xchacha20poly1305(k.key, sealed.slice(1, 25), place).decrypt(sealed.slice(25));
}
const blind = (blinding, ...what) => HMAC(blinding, ...what).slice(0, 16);
function markOf(blinding, klass, serial, key) {
  const place = cat([0, 1], ascii('mark'), u8(klass)), name = cat(u32(serial), blind(blinding, place, u32(serial), key).slice(0, 8));
  return cat(name, blind(blinding, place, name));
}

// The values of a vault, sealed by the current keys of their classes; each has to open again from the file.
function valuesOf(x, file, current) {
  const v = openFile(file, x.passphrase), blinding = bin(x.blinding_key);
  return x.values.map(({ class: klass, place, plaintext, nonce }) => {
    const sealed = sealValue(current[klass], bin(nonce), bin(place), bin(plaintext));
    must(hex(openValue(klass ? v.fleeting : v.lasting, bin(place), sealed)) === plaintext, 'a value does not open');
    return { class: klass, place, plaintext, nonce, sealed: hex(sealed), blinded: hex(blind(blinding, bin(place))) };
  });
}

function vault2(x) {
  const ring = cat(bin(x.blinding_key), ringOf(x.lasting_serial, x.lasting), ringOf(x.fleeting_serial, x.fleeting));
  const file = fileOf(2, ring, x.passphrase, bin(x.salt), bin(x.nonce));
  const last = (serial, keys) => ({ serial: serial + keys.length - 1, number: (serial + keys.length - 1) & 255, key: bin(keys.at(-1).key) });
  const current = [last(x.lasting_serial, x.lasting), last(x.fleeting_serial, x.fleeting)];
  const marks = current.map((k, klass) => hex(markOf(bin(x.blinding_key), klass, k.serial, k.key)));
  return { ...x, file: hex(file), marks, values: valuesOf(x, file, current) };
}

function vault1(x) {
  const k = { number: 0, key: bin(x.store_key) }, file = fileOf(1, keyring1(bin(x.blinding_key), [k]), x.passphrase, bin(x.salt), bin(x.nonce));
  return { ...x, file: hex(file), values: valuesOf(x, file, [k, k]) };
}

function damaged(vaults) {
  const plain = vaults.find((x) => !x.passphrase), locked = vaults.find((x) => x.passphrase), keys = (n) => Array(n).fill(plain.lasting[0]);
  const ring = (a, b) => cat(bin(plain.blinding_key), ringOf(0, keys(a)), ringOf(0, keys(b)));
  const file = bin(plain.file), sealed = bin(locked.file), flip = (raw, at) => cat(raw.slice(0, at), [raw[at] ^ 1], raw.slice(at + 1));
  const again = (raw) => cat(raw.slice(0, -32), H(raw.slice(0, -32)));
  const cases = {
    'the sum fits': flip(file, 20), 'the magic is that of key files': again(flip(file, 3)), 'the lock is known': again(cat(file.slice(0, 12), [2], file.slice(13))), 'a lasting key at least': fileOf(2, ring(0, 1), ''),
    'a fleeting key at least': fileOf(2, ring(1, 0), ''), 'at most 16 lasting keys': fileOf(2, ring(17, 1), ''), 'at most 16 fleeting keys': fileOf(2, ring(1, 17), ''),
    'nothing stands behind the keyring': again(cat(file.slice(0, -32), [0], file.slice(-32))), 'nothing is missing': file.slice(0, -1), 'the sum of a locked file fits': flip(sealed, 60), 'no empty file': new Uint8Array(0),
    'store keys of version 1 are numbered one after the other': fileOf(1, keyring1(bin(plain.blinding_key), [3, 5].map((number) => ({ number, key: bin(plain.lasting[0].key) }))), ''),
  };
  must(!refuses(() => openFile(fileOf(2, ring(16, 16), ''), '')), 'a good file is refused');
  return Object.entries(cases).map(([rule, raw]) => {
    must(refuses(() => openFile(raw, 'any')), `not refused: ${rule}`);
    return { rule, file: hex(raw) };
  });
}

export function build(v) {
  const vaults = v.vaults.map(vault2);
  return {
    about: 'The key file (docs/storage.md). Bytes are hex, made is unix milliseconds. In vaults file, marks (of the lasting and the fleeting key), sealed and blinded follow from the other fields; the class of a value is 0 lasting or 1 fleeting. The files of version_1 have to open; nobody writes them any more. The files of damaged are damaged, whatever the passphrase.',
    vaults, version_1: v.version_1.map(vault1), damaged: damaged(vaults),
  };
}
