// Section "Identity": phrase, root, account key, device, device list, bundle, safety number.
import { readFileSync } from 'node:fs';
import { ml_kem768 } from '@noble/post-quantum/ml-kem.js';
import { Exp, H, HKDF, argon2, ascii, bin, cat, compare, deviceID, ed25519, hex, must, pub, read, reader, refuses, same, sha512, sign, split, u8, u16, u32, u64, userID, verify, x25519, zero } from './lib.mjs';

export const name = 'identity.json';
const DAY = 86400, MAX_TIME = 2n ** 38n;

// 1.1 Keys that a reader refuses
const P = 2n ** 255n - 19n;
const little = (bytes) => bytes.reduceRight((v, x) => (v << 8n) | BigInt(x), 0n);
const toLittle = (n) => Uint8Array.from({ length: 32 }, (_, i) => Number((n >> BigInt(8 * i)) & 255n));
const SMALL_X = [0n, 1n, P - 1n, 325606250916557431795983626356110631294008115727848805560023387167927233504n,
  39382357235489614581723060781553021112529911719440698176882885853963445705823n];
export const soundX25519 = (key) => little(key) < P && !SMALL_X.includes(little(key));
// The y of the eight points of small order, from one of order 8.
const SMALL_Y = (() => {
  const point = ed25519.Point.fromBytes(bin('26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05'));
  return [...new Set(Array.from({ length: 8 }, (_, i) => little(point.multiplyUnsafe(BigInt(i)).toBytes()) & (2n ** 255n - 1n)))];
})();
export const soundEd25519 = (key) => {
  const y = little(key) & (2n ** 255n - 1n);
  return y < P && !SMALL_Y.includes(y);
};
const soundMLKEM = (key) => {
  for (let i = 0; i < 1152; i += 3) {
    const [a, b, c] = key.slice(i, i + 3);
    if ((a | ((b & 15) << 8)) >= 3329 || ((b >> 4) | (c << 4)) >= 3329) return false;
  }
  return true;
};

// 1.2 Recovery phrase and root
const listText = readFileSync(new URL('../../../crypto/identity/english.txt', import.meta.url));
must(hex(H(listText)) === '2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda', 'another list of words');
const words = listText.toString().trim().split('\n');
export function phraseOf(entropy) {
  const bits = (BigInt('0x' + hex(entropy)) << 4n) | BigInt(H(entropy)[0] >> 4);
  return Array.from({ length: 12 }, (_, i) => words[Number((bits >> BigInt(121 - 11 * i)) & 2047n)]).join(' ');
}
export function entropyOf(text) {
  must(Buffer.byteLength(text) <= 1024, 'long');
  const at = text.toLowerCase().trim().split(/\s+/).map((w) => words.indexOf(w));
  must(at.length === 12 && !at.includes(-1), 'words');
  const bits = at.reduce((v, x) => (v << 11n) | BigInt(x), 0n);
  const entropy = bin((bits >> 4n).toString(16).padStart(32, '0'));
  must(BigInt(H(entropy)[0] >> 4) === (bits & 15n), 'checksum');
  return entropy;
}
const rootSeedOf = (phrase) => argon2(phrase, 'kith1 root');
const rootKey = (rootSeed) => HKDF(rootSeed, ascii('kith1 root key'));

// 1.3 Account key
export function accountOf(rootSeed, epoch) {
  const root = rootKey(rootSeed), seed = HKDF(rootSeed, ascii('kith1 account'), u32(epoch));
  const user = userID(pub(root));
  const certificate = sign(root, 'kith1 account sig', user, u32(epoch), pub(seed));
  return { user, root: pub(root), seed, key: pub(seed), epoch, certificate };
}
const secretAccount = (a) => cat(u8(1), a.root, u32(a.epoch), a.seed, a.certificate);

// 1.5 Device list
export function listOf(a, f) {
  const body = cat(u8(f.version ?? 1), u8(f.rootAlg ?? 1), a.root, f.commitment ?? zero(32), u32(a.epoch), a.key, f.certificate ?? a.certificate, u64(f.seq), f.prev,
    u64(f.issued), u64(f.not_after), u8(f.flags), u8(f.devices.length), ...f.devices.map((d) => cat(d.sig, d.ik, u8(d.flags), u64(d.added_seq))));
  return cat(body, sign(f.signer ?? a.seed, f.label ?? 'kith1 device list sig', body));
}
export const digestOf = (epoch, seq, hash) => H(ascii('kith1 head'), u32(epoch), u64(seq), hash).slice(0, 12);

export function parseList(raw) {
  must(raw.length <= 1456, 'size');
  const r = reader(raw.slice(0, -64)), l = {};
  must(r.u8() === 1 && r.u8() === 1, 'version');
  l.root = r.take(32);
  must(same(r.take(32), zero(32)), 'commitment');
  Object.assign(l, { epoch: r.u32(), key: r.take(32), certificate: r.take(64), seq: r.u64(), prev: r.take(32), issued: r.u64(), not_after: r.u64(), flags: r.u8(), n: r.u8() });
  l.devices = Array.from({ length: l.n }, () => ({ sig: r.take(32), ik: r.take(32), flags: r.u8(), added_seq: r.u64() }));
  r.end();
  l.user = userID(l.root);
  const keys = [l.root, l.key, ...l.devices.flatMap((d) => [d.sig, d.ik])];
  must([l.root, l.key, ...l.devices.map((d) => d.sig)].every(soundEd25519) && l.devices.every((d) => soundX25519(d.ik)), 'rule 1, keys');
  must(verify(l.root, 'kith1 account sig', l.certificate, l.user, u32(l.epoch), l.key) && verify(l.key, 'kith1 device list sig', raw.slice(-64), raw.slice(0, -64)), 'rule 1');
  must((l.flags & ~1) === 0 && (l.flags & 1 ? l.n === 0 : l.n >= 1 && l.n <= 16), 'rule 2');
  must(new Set(keys.map(hex)).size === keys.length, 'rule 3');
  must(l.devices.every((d) => (d.flags & ~1) === 0) && l.devices.filter((d) => d.flags & 1).length <= 1, 'rule 4');
  must(l.seq >= 1n && (l.seq === 1n || !same(l.prev, zero(32))), 'rule 5');
  must(l.devices.every((d) => d.added_seq >= 1n && d.added_seq <= l.seq), 'rule 6');
  must(l.issued <= l.not_after && l.not_after <= l.issued + BigInt(90 * DAY) && l.not_after < MAX_TIME, 'rule 7');
  return { ...l, hash: H(raw) };
}

// 1.6 Bundle
export function bundleOf(f) {
  const body = cat(u8(f.version ?? 1), u16(f.suite ?? 1), f.user, pub(f.sign), f.ik ?? x25519.getPublicKey(f.ik_scalar), u64(f.generation), u64(f.number), u64(f.issued), u64(f.not_after),
    f.spk ?? x25519.getPublicKey(f.spk_scalar), f.pq ?? ml_kem768.keygen(f.pq_seed).publicKey, u32(f.flags));
  return cat(body, sign(f.signer ?? f.sign, f.label ?? 'kith1 bundle sig', body));
}
export function parseBundle(raw) {
  must(raw.length === 1415, 'size');
  const r = reader(raw.slice(0, -64));
  must(r.u8() === 1 && r.u16() === 1, 'version');
  const b = { user: r.take(32), sig: r.take(32), ik: r.take(32), generation: r.u64(), number: r.u64(), issued: r.u64(), not_after: r.u64(), spk: r.take(32), pq: r.take(1184), flags: r.u32() };
  r.end();
  must((b.flags & 0xfffe) === 0, 'critical flag');
  must(soundEd25519(b.sig) && soundX25519(b.ik) && soundX25519(b.spk) && soundMLKEM(b.pq), 'keys');
  must(new Set([b.sig, b.ik, b.spk].map(hex)).size === 3, 'equal keys');
  must(b.issued <= b.not_after && b.not_after <= b.issued + BigInt(90 * DAY) && b.not_after < MAX_TIME, 'times');
  must(verify(b.sig, 'kith1 bundle sig', raw.slice(-64), raw.slice(0, -64)), 'signature');
  return { ...b, hash: H(raw) };
}
export const claims = (list, b) => same(list.user, b.user) && list.devices.some((d) => same(d.sig, b.sig) && same(d.ik, b.ik));

// 1.8 Safety number
function safetyHash(user) {
  let h = sha512(cat(ascii('kith1 safety'), user));
  for (let i = 2; i <= 5200; i++) h = sha512(cat(h, user));
  return h;
}
export function half(user) {
  const h = safetyHash(user);
  return Array.from({ length: 6 }, (_, i) => String(read(h.slice(5 * i, 5 * i + 5)) % 100000).padStart(5, '0')).join(' ');
}
// The 77 bits behind those of the digits.
export function safetyWords(user) {
  const bits = [...safetyHash(user).slice(30, 40)].map((b) => b.toString(2).padStart(8, '0')).join('');
  return Array.from({ length: 7 }, (_, i) => words[parseInt(bits.slice(11 * i, 11 * i + 11), 2)]).join(' ');
}
const safety = (a, b) => [half(a), half(b)].sort().join(' ');

const deviceOf = (v) => ({ sig: pub(bin(v.sign_seed)), ik: x25519.getPublicKey(bin(v.ik_scalar)) });
const account = (v) => accountOf(bin(v.root_seed), v.epoch);

// What must be refused: each breaks one rule of what would be good, under good signatures.
function refusedLists() {
  const seed = (text) => H(ascii(text));
  const a = accountOf(seed('root'), 3), other = accountOf(seed('another root'), 3);
  const device = (text, more) => ({ sig: pub(seed('sign ' + text)), ik: x25519.getPublicKey(seed('ik ' + text)), flags: 0, added_seq: 1, ...more });
  const phone = device('phone', { flags: 1 }), laptop = device('laptop', { added_seq: 2 });
  const good = { seq: 2, prev: seed('the list before'), issued: 1772366400, not_after: 1773576000, flags: 0, devices: [phone, laptop] };
  const many = (n) => Array.from({ length: n }, (_, i) => device('many ' + i));
  const bad = {
    'the version is 1': { version: 2 },
    'the root algorithm is 1': { rootAlg: 2 },
    'the commitment is zero': { commitment: seed('commitment') },
    'the root signs the account key': { certificate: other.certificate },
    'the account key signs the list': { signer: other.seed },
    'the label is that of lists': { label: 'kith1 bundle sig' },
    'device keys are sound: no signing key of small order': { devices: [phone, { ...laptop, sig: toLittle(1n) }] },
    'device keys are sound: no signing key beyond 2^255-20': { devices: [phone, { ...laptop, sig: toLittle(P + 1n) }] },
    'device keys are sound: no identity key of small order': { devices: [phone, { ...laptop, ik: toLittle(SMALL_X[3]) }] },
    'device keys are sound: no identity key with the top bit': { devices: [phone, { ...laptop, ik: cat(laptop.ik.slice(0, 31), [laptop.ik[31] | 128]) }] },
    'a list names a device': { devices: [] },
    'a list names at most 16 devices': { devices: many(17) },
    'a tombstone names none': { flags: 1 },
    'flags of lists are known': { flags: 2 },
    'no signing key twice': { devices: [phone, { ...laptop, sig: phone.sig }] },
    'no identity key twice': { devices: [phone, { ...laptop, ik: phone.ik }] },
    'no device has the key of the root': { devices: [phone, { ...laptop, sig: a.root }] },
    'no device has the key of the account': { devices: [phone, { ...laptop, sig: a.key }] },
    'one device at most is the admin device': { devices: [phone, { ...laptop, flags: 1 }] },
    'flags of devices are known': { devices: [phone, { ...laptop, flags: 2 }] },
    'numbered from 1': { seq: 0, prev: zero(32), devices: [{ ...phone, added_seq: 0 }] },
    'a later list names the one before': { prev: zero(32) },
    'added_seq from 1': { devices: [phone, { ...laptop, added_seq: 0 }] },
    'added_seq up to the number of the list': { devices: [phone, { ...laptop, added_seq: 3 }] },
    'issued before not_after': { issued: 1773576001 },
    'not_after at most 90 days later': { not_after: 1772366400 + 90 * DAY + 1 },
    'times below 2^38': { issued: Number(MAX_TIME), not_after: Number(MAX_TIME) },
  };
  must(!refuses(() => parseList(listOf(a, good))) && !refuses(() => parseList(listOf(a, { ...good, not_after: good.issued + 90 * DAY, devices: many(16) }))), 'the good list is refused');
  const out = Object.entries(bad).map(([rule, f]) => ({ rule, list: listOf(a, { ...good, ...f }) }));
  const whole = listOf(a, good);
  out.push({ rule: 'no bytes behind it', list: cat(whole, [0]) }, { rule: 'nothing is missing', list: whole.slice(0, -1) }, { rule: 'the number of devices fits the size', list: cat(whole.slice(0, 222), [1], whole.slice(223)) });
  return check(out, 'list', parseList);
}

function refusedBundles(v) {
  const seed = (text) => H(ascii(text));
  const good = { user: seed('user'), sign: seed('sign phone'), ik_scalar: seed('ik phone'), generation: 1, number: 7, issued: 1772366400, not_after: 1772971200, spk_scalar: seed('spk'), pq_seed: cat(seed('d'), seed('z')), flags: 0 };
  const pq = ml_kem768.keygen(good.pq_seed).publicKey, ik = x25519.getPublicKey(good.ik_scalar), spk = x25519.getPublicKey(good.spk_scalar);
  const bad = {
    'the version is 1': { version: 2 }, 'the suite is 1': { suite: 2 },
    'its own signing key signs it': { signer: seed('another') }, 'the label is that of bundles': { label: 'kith1 device list sig' },
    'no identity key of small order': { ik: toLittle(1n) }, 'no prekey of small order': { spk: toLittle(0n) },
    'no identity key beyond 2^255-20': { ik: toLittle(P + 9n) }, 'no prekey with the top bit': { spk: cat(spk.slice(0, 31), [spk[31] | 128]) },
    'coefficients below 3329': { pq: cat([255, pq[1] | 15], pq.slice(2)) },
    'prekey and identity key differ': { spk: ik }, 'signing key and identity key differ': { ik: pub(good.sign) },
    'critical flags are known': { flags: 2 }, 'all critical flags are known': { flags: 0x8000 },
    'issued before not_after': { issued: 1772971201 }, 'not_after at most 90 days later': { not_after: 1772366400 + 90 * DAY + 1 },
  };
  must(!refuses(() => parseBundle(bundleOf(good))) && !refuses(() => parseBundle(bundleOf({ ...good, flags: 0xffff0001 }))), 'the good bundle is refused');
  const whole = bundleOf(good);
  const out = Object.entries(bad).map(([rule, f]) => ({ rule, bundle: bundleOf({ ...good, ...f }) }));
  out.push({ rule: 'no bytes behind it', bundle: cat(whole, [0]) }, { rule: 'nothing is missing', bundle: whole.slice(0, -1) }, { rule: 'not a byte is altered', bundle: cat(whole.slice(0, 200), [whole[200] ^ 1], whole.slice(201)) });
  return check(out, 'bundle', parseBundle);
}

function check(cases, field, parse) {
  return cases.map((c) => {
    must(refuses(() => parse(c[field])), `not refused: ${c.rule}`);
    return { rule: c.rule, [field]: hex(c[field]) };
  });
}

// Every encoding of a point of small order, canonical or not, with and without the top bit, which X25519 ignores.
function unsoundX25519() {
  const all = [...SMALL_X, P, P + 1n].map(toLittle);
  const keys = [...all, ...all.map((k) => cat(k.slice(0, 31), [k[31] | 128]))];
  must(keys.every((k) => refuses(() => x25519.getSharedSecret(H(ascii('any scalar')), k))), 'a key of small order agrees on something');
  return keys;
}

function unsoundEd25519() {
  const all = [...SMALL_Y, P, P + 1n].map(toLittle);
  return [...all, ...all.map((k) => cat(k.slice(0, 31), [k[31] | 128]))];
}

export function build(v) {
  const out = {
    about: 'Identity (docs/protocol.md, section 1). Bytes are hex, times unix seconds. In each case the first fields are inputs; all others follow from them. Phrases are the 128-bit vectors of BIP39. Lists, bundles, phrases and keys of the last parts have to be refused.',
    phrases: v.phrases.map(({ entropy }) => ({ entropy, phrase: phraseOf(bin(entropy)) })),
    roots: v.roots.map(({ phrase }) => {
      const seed = rootSeedOf(phrase), key = pub(rootKey(seed));
      return { phrase, seed: hex(seed), public: hex(key), user: hex(userID(key)) };
    }),
    accounts: v.accounts.map(({ root_seed, epoch }) => {
      const a = accountOf(bin(root_seed), epoch);
      return { root_seed, epoch, account: hex(secretAccount(a)), public: hex(a.key) };
    }),
    devices: v.devices.map((d) => {
      const { sig, ik } = deviceOf(d);
      return { sign_seed: d.sign_seed, ik_scalar: d.ik_scalar, sig_pub: hex(sig), ik_pub: hex(ik), id: hex(deviceID(sig)) };
    }),
    lists: v.lists.map((l) => {
      const a = account(l.account);
      const raw = listOf(a, { ...l, prev: bin(l.prev), devices: l.devices.map((d) => ({ ...d, sig: bin(d.sig_pub), ik: bin(d.ik_pub) })) });
      const hash = parseList(raw).hash;
      return { ...l, account: { root_seed: l.account.root_seed, epoch: l.account.epoch, account: hex(secretAccount(a)), public: hex(a.key) }, list: hex(raw), hash: hex(hash), head_digest: hex(digestOf(a.epoch, l.seq, hash)) };
    }),
    bundles: v.bundles.map((b) => {
      const raw = bundleOf({ ...b, user: bin(b.user), sign: bin(b.device.sign_seed), ik_scalar: bin(b.device.ik_scalar), spk_scalar: bin(b.spk_scalar), pq_seed: bin(b.pq_seed) });
      const { hash } = parseBundle(raw);
      return { ...b, bundle: hex(raw), hash: hex(hash), prekey: hex(cat(u8(1), hash, bin(b.spk_scalar), bin(b.pq_seed))) };
    }),
    safety_numbers: v.safety_numbers.map(({ a, b }) => ({ a, b, number: safety(bin(a), bin(b)), words_a: safetyWords(bin(a)), words_b: safetyWords(bin(b)) })),
    unsound_x25519: unsoundX25519().map(hex),
    unsound_ed25519: unsoundEd25519().map(hex),
    refused_phrases: ['abandon '.repeat(12).trim(), 'abandon '.repeat(11) + 'abou', 'abandon '.repeat(10) + 'about', 'abandon '.repeat(12) + 'about', ''],
    refused_lists: refusedLists(),
    refused_bundles: refusedBundles(),
  };
  must(out.unsound_x25519.every((k) => !soundX25519(bin(k))) && out.unsound_ed25519.every((k) => !soundEd25519(bin(k))), 'an unsound key passes');
  must(out.refused_phrases.every((p) => refuses(() => entropyOf(p))), 'a bad phrase passes');
  must(out.phrases.every((p) => hex(entropyOf(' ' + p.phrase.toUpperCase().replaceAll(' ', '\t') + '\n')) === p.entropy), 'a phrase in capitals is refused');
  must(claims(parseList(bin(out.lists[1].list)), parseBundle(bin(out.bundles[0].bundle))), 'bundle 0 is of no device in list 1');
  return out;
}
