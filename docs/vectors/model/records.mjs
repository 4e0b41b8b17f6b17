// Section "Records and directory": peers, set cores, leases, set records, sealed sets, device records, adverts.
import { Exp, H, HKDF, HMAC, LP, ascii, bin, cat, deviceID, hex, mailboxID, must, peerID, pub, reader, refuses, same, sign, u16, u32, u64, u8, verify, xseal, zero } from './lib.mjs';
import { parseBundle, soundEd25519 } from './identity.mjs';
import { xchacha20poly1305 } from '@noble/ciphers/chacha.js';

export const name = 'records.json';
export const FRONT_DOOR = 0xffffffff;

const signed = (seed, label, body) => cat(body, sign(seed, label, body));
export const coreHash = (core) => H(ascii('kith1 set core'), core);
const leaseSig = (relay, core, rank, end) => sign(relay, 'kith1 lease sig', coreHash(core), u8(rank), u64(end));

// Parsers, strict: what they refuse nobody believes.
const MAX = 253402300799n;
const time = (t) => must(t > 0n && t <= MAX, 'time');
function readPeer(r, most) {
  const key = r.take(32), n = r.u8();
  must(soundEd25519(key) && n <= most, 'peer');
  for (let i = 0; i < n; i++) { const a = r.lp8(); must(a.length >= 1 && a.length <= 128, 'address'); }
  return key;
}
function readCore(r) {
  const c = {};
  must(r.u8() === 1, 'version');
  Object.assign(c, { box: r.take(32), epoch: r.u32(), number: r.u64(), issued: r.u64(), not_after: r.u64(), R: r.u8(), W: r.u8(), S: r.u8(), n: r.u8() });
  time(c.issued); time(c.not_after);
  must(soundEd25519(c.box) && c.issued <= c.not_after && c.n <= 16, 'core');
  c.members = Array.from({ length: c.n }, () => ({ key: readPeer(r, 8), rank: r.u8(), standby: r.u8() }));
  const active = c.members.filter((m) => !m.standby).length;
  must(c.members.every((m, i) => m.standby <= 1 && (i === 0 || c.members[i - 1].rank < m.rank)), 'ranks');
  must(new Set(c.members.map((m) => hex(m.key))).size === c.n, 'a relay twice');
  must(1 <= c.W && c.W <= active && active <= c.R && c.n - active <= c.S, 'counts');
  return c;
}
export function parseSet(raw) {
  must(raw.length <= 3328, 'size');
  const r = reader(raw.slice(0, -64)), c = readCore(r), core = r.so_far();
  let last = -1;
  for (let i = r.u8(); i > 0; i--) {
    const rank = r.u8(), end = r.u64(), sig = r.take(64), m = c.members.find((x) => x.rank === rank);
    time(end);
    must(rank > last && m && verify(m.key, 'kith1 lease sig', sig, coreHash(core), u8(rank), u64(end)), 'lease');
    last = rank;
  }
  r.end();
  must(verify(c.box, 'kith1 set sig', raw.slice(-64), raw.slice(0, -64)), 'signature');
  return c;
}
function parseSealed(raw, recordKey) {
  const r = reader(raw.slice(0, -64));
  must(r.u8() === 1, 'version');
  const box = r.take(32), n = r.u64(), end = r.u64(), head = r.so_far(), sealed = r.lp(8192);
  r.end();
  must(verify(box, 'kith1 sealed set sig', raw.slice(-64), raw.slice(0, -64)), 'signature');
  const plain = reader(xchacha20poly1305(Exp(recordKey, ascii('kith1 set seal'), 32), sealed.slice(0, 24), head).decrypt(sealed.slice(24)));
  const record = plain.lp(3328), pad = plain.rest();
  must(pad.every((x) => x === 0) && pad.length < 1024, 'padding');
  const set = parseSet(record);
  must(same(set.box, box) && set.number === n && set.not_after === end, 'another record');
  return set;
}
function parseDevice(raw) {
  must(raw.length <= 6144, 'size');
  const r = reader(raw.slice(0, -64));
  must(r.u8() === 1, 'version');
  const b = parseBundle(r.lp(1415)), n = r.u64(), issued = r.u64(), end = r.u64();
  time(issued); time(end);
  must(issued <= end && n >= 0n, 'times');
  readPeer(r, 8);
  r.u32(); r.u64(); r.take(32);
  const door = r.lp(3328);
  if (door.length) must(parseSet(door).epoch === FRONT_DOOR, 'front door');
  r.end();
  must(verify(b.sig, 'kith1 device record sig', raw.slice(-64), raw.slice(0, -64)), 'signature');
}
function parseAdvert(raw) {
  must(raw.length <= 1024, 'size');
  const r = reader(raw.slice(0, -64));
  must(r.u8() === 1, 'version');
  const key = readPeer(r, 4);
  r.u64();
  const issued = r.u64(), end = r.u64();
  time(issued); time(end);
  must(issued <= end && end - issued <= 86400n, 'life');
  r.u32(); r.u64(); r.u32(); r.u16(); r.u8(); r.take(8);
  must(r.u64() <= MAX, 'leaving');
  r.end();
  must(verify(key, 'kith1 advert sig', raw.slice(-64), raw.slice(0, -64)), 'signature');
}

export function build(v) {
  const seed = (what) => bin(v.seeds[what]), key = (what) => pub(seed(what)), i = v.inputs, box = seed('box key');
  const address = bin(v.address);
  const peer = (what, addrs = [address]) => cat(key(what), u8(addrs.length), ...addrs.map((a) => cat(u8(a.length), a)));
  const relays = [0, 1, 2].map((r) => `relay ${r}`);
  const setCore = (f = {}) => cat(u8(f.version ?? 1), f.box ?? pub(box), u32(f.epoch ?? i['set epoch']), u64(f.number ?? i['set number']), u64(f.issued ?? v.issued_unix), u64(f.not_after ?? v.not_after_unix),
    u8(f.R ?? i.R), u8(f.W ?? i.W), u8(f.S ?? i.S), ...(f.members ?? [u8(3), ...relays.map((r, n) => cat(peer(r), u8(n), u8(0)))]));
  const lease = (core, r, f = {}) => cat(u8(r), u64(f.end ?? v.lease_end_unix), leaseSig(seed(f.by ?? `relay ${r}`), core, r, f.end ?? v.lease_end_unix));
  const setRecord = (core, leases = [0, 1, 2].map((r) => lease(core, r)), label = 'kith1 set sig') => signed(box, label, cat(core, u8(leases.length), ...leases));
  const sealed = (record, f = {}) => {
    const head = cat(u8(1), pub(box), u64(f.number ?? i['set number']), u64(f.not_after ?? v.not_after_unix)), lp = LP(record);
    const plain = cat(lp, f.pad ?? zero((1024 - (lp.length % 1024)) % 1024));
    const nonce = HMAC(Exp(seed('record key'), ascii('kith1 set nonce'), 32), head, plain).slice(0, 24);
    return signed(f.by ?? box, 'kith1 sealed set sig', cat(head, LP(cat(nonce, xseal(Exp(seed('record key'), ascii('kith1 set seal'), 32), nonce, head, plain)))));
  };
  const deviceRecord = (door, f = {}) => signed(f.by ?? seed('device signing key'), 'kith1 device record sig', cat(u8(f.version ?? 1), LP(f.bundle ?? bin(v.bundle)), u64(i['device record number']), u64(f.issued ?? v.issued_unix), u64(v.not_after_unix),
    f.peer ?? peer('device host'), u32(i['head epoch']), u64(i['head seq']), zero(32), LP(door)));
  const advertOf = (f = {}) => signed(f.by ?? seed('relay 0'), f.label ?? 'kith1 advert sig', cat(u8(f.version ?? 1), f.peer ?? peer('relay 0'), u64(i['advert number']), u64(f.issued ?? v.issued_unix), u64(f.end ?? i['advert not after']), u32(i['max envelope']),
    u64(i['box bytes']), u32(i['box count']), u16(i.retention), u8(i['work bits']), seed('family'), u64(i['leaving at'])));

  const core = setCore(), set = setRecord(core), door = setRecord(setCore({ epoch: FRONT_DOOR, number: i['front door number'] }));
  const device = deviceRecord(door), advert = advertOf(), signing = key('device signing key'), bundle = bin(v.bundle);
  const values = {
    'directory key of a user': cat(ascii('/kith-u/'), seed('user id').slice(0, 20)), 'directory key of a device': cat(ascii('/kith-d/'), deviceID(signing)),
    'directory key of a mailbox': cat(ascii('/kith-m/'), mailboxID(pub(box))), 'mailbox id': mailboxID(pub(box)), 'device id': deviceID(signing), 'peer id': peerID(key('relay 0')),
    'set core': core, 'hash of the set core': coreHash(core), 'signed set core': signed(box, 'kith1 set core sig', core), 'signature of lease 0': leaseSig(seed('relay 0'), core, 0, v.lease_end_unix),
    set, 'sealed set': sealed(set), 'device record': device, advert, 'record key of the epoch': HKDF(seed('record secret'), ascii('kith1 set record'), u32(i['set epoch'])),
  };

  const member = (r, rank, standby = 0) => cat(peer(r), u8(rank), u8(standby)), altered = (raw, at) => cat(raw.slice(0, at), [raw[at] ^ 1], raw.slice(at + 1));
  const badSets = {
    'the version is 1': { version: 2 }, 'ranks ascend': { members: [u8(3), member('relay 0', 0), member('relay 1', 2), member('relay 2', 1)] },
    'no rank twice': { members: [u8(2), member('relay 0', 0), member('relay 1', 0)] }, 'no relay twice': { members: [u8(2), member('relay 0', 0), member('relay 0', 1)] },
    'W is 1 or more': { W: 0 }, 'W is at most the members': { W: 4, R: 4 }, 'members are at most R': { R: 2 }, 'standbys are at most S': { S: 0, members: [u8(3), member('relay 0', 0), member('relay 1', 1), member('relay 2', 2, 1)] },
    'standby is 0 or 1': { members: [u8(3), member('relay 0', 0), member('relay 1', 1), member('relay 2', 2, 2)] }, 'issued before not_after': { issued: v.not_after_unix + 1 }, 'it has a time': { issued: 0 },
  };
  const bad = [];
  const refused = (what, rule, record, parse) => {
    must(refuses(() => parse(record)), `not refused: ${what}: ${rule}`);
    bad.push({ what, rule, record: hex(record) });
  };
  for (const [rule, f] of Object.entries(badSets)) { const c = setCore(f); refused('set', rule, setRecord(c, []), parseSet); }
  refused('set', 'the box signs it', altered(set, set.length - 1), parseSet);
  refused('set', 'the label is that of sets', setRecord(core, undefined, 'kith1 set core sig'), parseSet);
  refused('set', 'a lease is signed by its relay', setRecord(core, [lease(core, 0, { by: 'relay 1' })]), parseSet);
  refused('set', 'a lease has an end', setRecord(core, [lease(core, 0, { end: 0 })]), parseSet);
  refused('set', 'a lease is of this core', setRecord(core, [lease(setCore({ number: 8 }), 0)]), parseSet);
  refused('set', 'leases ascend', setRecord(core, [lease(core, 1), lease(core, 0)]), parseSet);
  refused('set', 'one lease a member', setRecord(core, [lease(core, 0), lease(core, 0)]), parseSet);
  refused('set', 'nothing stands behind it', cat(set, [0]), parseSet);
  refused('set', 'nothing is missing', set.slice(1), parseSet);
  const unseal = (raw) => parseSealed(raw, seed('record key'));
  for (const [rule, record] of Object.entries({
    'the box signs it': sealed(set, { by: seed('relay 0') }), 'the number is that of the record': sealed(set, { number: 8 }), 'not_after is that of the record': sealed(set, { not_after: v.not_after_unix + 1 }),
    'padding of zeros': sealed(set, { pad: [1] }), 'padding below 1,024': sealed(set, { pad: zero(1024) }), 'not a byte is altered': altered(values['sealed set'], 60),
  })) refused('sealed set', rule, record, unseal);
  for (const [rule, record] of Object.entries({
    'the device signs it': deviceRecord(door, { by: box }), 'the version is 1': deviceRecord(door, { version: 2 }), 'its bundle is sound': deviceRecord(door, { bundle: altered(bundle, 700) }),
    'its set is a front door': deviceRecord(set), 'its set is sound': deviceRecord(altered(door, 100)), 'at most 8 addresses': deviceRecord(door, { peer: peer('device host', Array(9).fill(address)) }),
    'addresses of 128 bytes at most': deviceRecord(door, { peer: peer('device host', [zero(129)]) }), 'no empty address': deviceRecord(door, { peer: peer('device host', [zero(0)]) }), 'issued before not_after': deviceRecord(door, { issued: v.not_after_unix + 1 }),
    'nothing stands behind it': cat(device, [0]),
  })) refused('device record', rule, record, parseDevice);
  for (const [rule, record] of Object.entries({
    'the relay signs it': advertOf({ by: seed('relay 1') }), 'the label is that of adverts': advertOf({ label: 'kith1 lease sig' }), 'the version is 1': advertOf({ version: 2 }),
    'at most 4 addresses': advertOf({ peer: peer('relay 0', Array(5).fill(address)) }), 'a life of one day at most': advertOf({ end: v.issued_unix + 86401 }), 'issued before not_after': advertOf({ issued: i['advert not after'] + 1 }),
  })) refused('advert', rule, record, parseAdvert);
  parseSet(set); parseSet(door); unseal(values['sealed set']); parseDevice(device); parseDevice(deviceRecord(zero(0))); parseAdvert(advert);

  return {
    about: 'Records (docs/protocol.md, section 3). Bytes are hex, times unix seconds. Ed25519 keys are given by their 32-byte seeds; values follows from what stands before it, and refused has to be refused.',
    seeds: v.seeds, issued_unix: v.issued_unix, not_after_unix: v.not_after_unix, lease_end_unix: v.lease_end_unix, inputs: i, address: v.address, bundle: v.bundle,
    values: Object.entries(values).map(([what, bytes]) => ({ what, bytes: hex(bytes) })), refused: bad,
  };
}
