// A second implementation of section "Records" of docs/protocol.md, written from that document
// on the @noble libraries. It builds every record of a vector file from its seeds and inputs and
// compares every byte.
//
//   npm install && node records.mjs ../records.json
import { readFileSync } from 'node:fs';
import { xchacha20poly1305 } from '@noble/ciphers/chacha.js';
import { ed25519 } from '@noble/curves/ed25519.js';
import { expand } from '@noble/hashes/hkdf.js';
import { hmac } from '@noble/hashes/hmac.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex, concatBytes, hexToBytes, utf8ToBytes as ascii } from '@noble/hashes/utils.js';

const v = JSON.parse(readFileSync(process.argv[2] ?? '../records.json'));
const cat = (...parts) => concatBytes(...parts.map((p) => Uint8Array.from(p)));
const number = (size, value) => {
  const out = new Uint8Array(size);
  for (let n = BigInt(value), i = size - 1; i >= 0; i--, n >>= 8n) out[i] = Number(n & 255n);
  return out;
};
const u8 = (n) => number(1, n), u16 = (n) => number(2, n), u32 = (n) => number(4, n), u64 = (n) => number(8, n);
const LP = (x) => cat(u32(x.length), x);
const seed = (name) => hexToBytes(v.seeds[name]);
const pub = (name) => ed25519.getPublicKey(seed(name));
const sign = (name, label, body) => ed25519.sign(cat(ascii(label), body), seed(name));
const signed = (name, label, body) => cat(body, sign(name, label, body));
const i = v.inputs;

const peer = (name) => cat(pub(name), u8(1), u8(v.address.length / 2), hexToBytes(v.address));
const setCore = (epoch, n) => cat(u8(1), pub('box key'), u32(epoch), u64(n), u64(v.issued_unix), u64(v.not_after_unix),
  u8(i.R), u8(i.W), u8(i.S), u8(3), ...[0, 1, 2].map((r) => cat(peer(`relay ${r}`), u8(r), u8(0))));
const coreHash = (core) => sha256(cat(ascii('kith1 set core'), core));
const lease = (core, r) => sign(`relay ${r}`, 'kith1 lease sig', cat(coreHash(core), u8(r), u64(v.lease_end_unix)));
const setRecord = (core) => signed('box key', 'kith1 set sig',
  cat(core, u8(3), ...[0, 1, 2].map((r) => cat(u8(r), u64(v.lease_end_unix), lease(core, r)))));

function sealedSet(record, n) {
  const head = cat(u8(1), pub('box key'), u64(n), u64(v.not_after_unix));
  const lp = LP(record);
  const plain = cat(lp, new Uint8Array((1024 - (lp.length % 1024)) % 1024));
  const nonce = hmac(sha256, expand(sha256, seed('record key'), ascii('kith1 set nonce'), 32), cat(head, plain)).slice(0, 24);
  const key = expand(sha256, seed('record key'), ascii('kith1 set seal'), 32);
  const box = cat(nonce, xchacha20poly1305(key, nonce, head).encrypt(plain));
  return signed('box key', 'kith1 sealed set sig', cat(head, LP(box)));
}

const core = setCore(i['set epoch'], i['set number']);
const set = setRecord(core);
const door = setRecord(setCore(0xffffffff, i['front door number']));
const device = signed('device signing key', 'kith1 device record sig', cat(u8(1), LP(hexToBytes(v.bundle)),
  u64(i['device record number']), u64(v.issued_unix), u64(v.not_after_unix), peer('device host'),
  u32(i['head epoch']), u64(i['head seq']), new Uint8Array(32), LP(door)));
const advert = signed('relay 0', 'kith1 advert sig', cat(u8(1), peer('relay 0'), u64(i['advert number']), u64(v.issued_unix),
  u64(i['advert not after']), u32(i['max envelope']), u64(i['box bytes']), u32(i['box count']), u16(i.retention),
  u8(i['work bits']), seed('family'), u64(i['leaving at'])));
const mailbox = sha256(cat(ascii('kith1 mailbox'), pub('box key')));
const deviceID = sha256(cat(ascii('kith1 device'), pub('device signing key')));

const built = {
  directory_keys: {
    user: cat(ascii('/kith-u/'), seed('user id').slice(0, 20)), device: cat(ascii('/kith-d/'), deviceID),
    mailbox: cat(ascii('/kith-m/'), mailbox),
  },
  records: {
    'set core': core, 'signed set core': signed('box key', 'kith1 set core sig', core), 'lease 0 signature': lease(core, 0),
    set, 'sealed set': sealedSet(set, i['set number']), 'device record': device, advert,
    peer: cat(hexToBytes('002408011220'), pub('relay 0')),
  },
  hashes: { 'set core': coreHash(core), 'mailbox id': mailbox, 'user id': seed('user id'), 'device id': deviceID },
};

let wrong = 0, compared = 0;
for (const part of Object.keys(built)) {
  for (const name of new Set([...Object.keys(v[part]), ...Object.keys(built[part])])) {
    compared++;
    if (v[part][name] !== bytesToHex(built[part][name] ?? new Uint8Array())) {
      wrong++;
      console.error(`${part}: ${name} differs`);
    }
  }
}
console.log(`${compared} values compared, ${wrong} differ`);
process.exit(wrong === 0 ? 0 : 1);
